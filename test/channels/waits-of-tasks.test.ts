import { expect, test } from 'vitest';
import {
  type AbortHandle,
  CancellationToken,
  JoinQueue,
  JoinSet,
  OnceCell,
  Semaphore,
  select,
  TaskTracker,
} from '../../src/channels/index.js';
import { stateOf, turn, unheardOf } from '../support/settlement.js';

const after = (hops: number, value: number) => async () => {
  for (let hop = 0; hop < hops; hop++) await null;
  return value;
};
const kinds = { JoinSet, JoinQueue };

/** What of a task's failing is heard by nobody. */
test('JoinSet.joinAll() gives the values in the order in which they came, JoinQueue.joinAll() in that of spawning', async () => {
  const orders: number[][] = [];
  for (const Kind of [JoinSet, JoinQueue]) {
    const tasks = new Kind<number>();
    for (const [hops, value] of [
      [30, 1],
      [10, 2],
      [20, 3],
    ] as const)
      tasks.spawn(after(hops, value));
    orders.push(await tasks.joinAll());
    expect([tasks.len, tasks.isEmpty]).toEqual([0, true]);
    expect(await tasks.joinAll()).toEqual([]);
  }
  expect(orders).toEqual([
    [2, 3, 1],
    [1, 2, 3],
  ]);
});

test.each(Object.entries(kinds))('%s.joinAll() fails with the first failure and ends the rest', async (_, Kind) => {
  const unheard = await unheardOf(async () => {
    const tasks = new Kind<number>();
    const aborted: string[] = [];
    const working = (name: string) => async (signal: AbortSignal) =>
      new Promise<number>((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(name);
          reject(signal.reason);
        });
      });
    tasks.spawn(after(1, 1));
    tasks.spawn(working('a'));
    tasks.spawn(async () => {
      await turn();
      throw new RangeError('broken');
    });
    tasks.spawn(working('b'));
    const joined = tasks.joinAll();
    const other = tasks.joinNext();
    expect(await other).toMatchObject({ status: 'fulfilled', value: 1 });
    await expect(joined).rejects.toThrow(new RangeError('broken'));
    expect(aborted).toEqual(['a', 'b']);
    expect([tasks.len, await tasks.joinNext(), tasks.tryJoinNext()]).toEqual([0, undefined, undefined]);
    tasks.spawn(after(1, 7));
    expect(await tasks.joinAll()).toEqual([7]);
  });
  expect(unheard).toEqual([]);
});

test.each(Object.entries(kinds))(
  '%s.joinAll() fails for a task that failed or was aborted before it',
  async (_, Kind) => {
    const tasks = new Kind<number>();
    tasks.spawn(Promise.reject(new Error('early')));
    tasks.spawn(() => new Promise<number>(() => {}));
    await turn();
    await expect(tasks.joinAll()).rejects.toThrow('early');
    tasks.spawn(after(50, 1));
    tasks.spawn(after(50, 2)).abort('enough');
    await expect(tasks.joinAll()).rejects.toBe('enough');
    const controller = new AbortController();
    tasks.spawn(after(5, 3));
    const wait = tasks.joinAll({ signal: controller.signal });
    controller.abort('given up');
    await expect(wait).rejects.toBe('given up');
    expect(await tasks.joinAll()).toEqual([3]);
  },
);

test.each(Object.entries(kinds))('%s.joinAll() wakes those who wait for what it has taken', async (_, Kind) => {
  const tasks = new Kind<number>();
  tasks.spawn(after(20, 1));
  const all = tasks.joinAll();
  const next = tasks.joinNext();
  const event = select({ tasks });
  expect(await Promise.all([all, next, event])).toEqual([[1], undefined, { arm: null }]);
});

test('JoinQueue.joinNext() gives results in the order of spawning, and an aborted task keeps its place', async () => {
  const tasks = new JoinQueue<number>();
  const handles = [30, 20, 10, 1].map((hops, n) => tasks.spawn(after(hops, n)));
  handles[1]?.abort('no');
  const refused = tasks.joinNext({ signal: AbortSignal.abort() });
  expect(tasks.tryJoinNext()).toBeUndefined();
  expect(tasks.len).toBe(4);
  expect(await stateOf(refused)).toBe('rejected');
  const seen: unknown[] = [];
  for await (const result of tasks) seen.push(result.status === 'fulfilled' ? result.value : result.status);
  expect(seen).toEqual([0, 'cancelled', 2, 3]);
  expect(handles.map(({ isFinished }) => isFinished)).toEqual([true, true, true, true]);
});

test('JoinQueue joins many while it grows, each once and in order', async () => {
  const tasks = new JoinQueue<number>();
  const seen: number[] = [];
  for (let round = 0; round < 50; round++) {
    for (let n = 0; n < 60; n++) tasks.spawn(after((n * 7) % 5, round * 60 + n));
    for (let n = 0; n < 59; n++) {
      const result = await tasks.joinNext();
      if (result?.status === 'fulfilled') seen.push(result.value);
    }
  }
  seen.push(...(await tasks.joinAll()));
  expect(seen).toEqual(Array.from({ length: 3_000 }, (_, n) => n));
});

test('JoinQueue.shutdown() aborts and waits, detachAll() forgets, and as an arm it ends when empty', async () => {
  const tasks = new JoinQueue<number>();
  const log: string[] = [];
  tasks.spawn(async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await turn();
    log.push('cleaned');
    return 1;
  });
  await turn();
  await tasks.shutdown();
  expect([tasks.len, log]).toEqual([0, ['cleaned']]);
  tasks.spawn(after(1, 5));
  expect(await select({ tasks })).toMatchObject({ arm: 'tasks', value: { value: 5 } });
  expect(await select({ tasks })).toEqual({ arm: null });
  tasks.spawn(() => new Promise<number>(() => {}));
  const waiting = tasks.joinNext();
  tasks.detachAll();
  expect([await waiting, tasks.len]).toEqual([undefined, 0]);
  {
    await using scoped = new JoinQueue<number>();
    scoped.spawn(() => new Promise<number>(() => {}));
  }
});

test.each(Object.entries(kinds))(
  '%s.spawn() gives every function its signal, however it declares its parameters',
  async (_, Kind) => {
    const tasks = new Kind<boolean>();
    const tells = (signal: unknown): boolean => signal instanceof AbortSignal && !signal.aborted;
    const spawned: AbortHandle[] = [
      tasks.spawn((signal) => tells(signal)),
      tasks.spawn((...given) => tells(given[0])),
      tasks.spawn((signal = AbortSignal.abort()) => tells(signal)),
      tasks.spawn(function () {
        // biome-ignore lint/complexity/noArguments: it is what is tested
        return tells(arguments[0]);
      }),
      tasks.spawn(tells.bind(null) as (signal: AbortSignal) => boolean),
    ];
    expect(await tasks.joinAll()).toEqual(spawned.map(() => true));
    let heard: unknown;
    tasks.spawn(async (...[signal]) => {
      signal.addEventListener('abort', () => {
        heard = signal.reason;
      });
      return new Promise<boolean>(() => {});
    });
    await turn();
    tasks.abortAll('stop');
    expect(heard).toBe('stop');
  },
);

test('TaskTracker.spawn() and trackFuture() that fail unseen are no unhandled rejections, and fail those who look', async () => {
  const unheard = await unheardOf(async () => {
    const tracker = new TaskTracker();
    void tracker.spawn(() => {
      throw new Error('at once');
    });
    void tracker.spawn(async () => {
      await turn();
      throw new Error('later');
    });
    void tracker.trackFuture(Promise.reject(new Error('tracked')));
    tracker.close();
    await tracker.wait();
    await expect(tracker.spawn(() => Promise.reject(new Error('seen')))).rejects.toThrow('seen');
  });
  expect(unheard).toEqual([]);
});

test('OnceCell.getOrInit() starts no initialiser for a caller whose signal has fired', async () => {
  // The turn passes on with the failure of the one before, and the signal fires in the same turn of the event loop.
  for (let hops = 0; hops < 12; hops++) {
    const cell = new OnceCell<number>();
    let fail: (error: unknown) => void = () => {};
    const first = cell.getOrInit(() => new Promise<number>((_, reject) => (fail = reject)));
    const controller = new AbortController();
    let started = false;
    let startedAborted = false;
    const second = cell.getOrInit(
      (signal) => {
        started = true;
        startedAborted = signal?.aborted ?? false;
        return 2;
      },
      { signal: controller.signal },
    );
    const third = cell.getOrInit(() => 3);
    await turn();
    fail(new Error('offline'));
    for (let hop = 0; hop < hops; hop++) await null;
    controller.abort('enough');
    await expect(first).rejects.toThrow('offline');
    const outcome = await second.catch((error: unknown) => error);
    expect(startedAborted).toBe(false);
    expect(outcome).toBe(started && outcome === 2 ? 2 : 'enough');
    expect(await third).toBe(outcome === 2 ? 2 : 3);
    await expect(cell.getOrInit(() => 4, { signal: controller.signal })).rejects.toBe('enough');
  }
});

test('waits of tasks leave permits and tokens as they were', async () => {
  const semaphore = new Semaphore(1);
  const token = new CancellationToken();
  expect(await token.runUntilCancelled(() => semaphore.acquire().then((permit) => permit.release()))).toMatchObject({
    state: 'ok',
  });
  expect(semaphore.availablePermits).toBe(1);
});
