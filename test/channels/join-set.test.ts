import { expect, test } from 'vitest';
import { JoinSet, select, type TaskResult } from '../../src/channels/index.js';
import { stateOf, turn, unheardOf } from '../support/settlement.js';

const never = () => new Promise<never>(() => {});
const after = (hops: number) => async () => {
  for (let i = 0; i < hops; i++) await null;
  return hops;
};

/** A task that ends when it is aborted, after some cleaning up. */
const obedient = (log: string[], name: string) => (signal: AbortSignal) =>
  new Promise<string>((_, reject) => {
    signal.addEventListener('abort', async () => {
      await turn();
      log.push(name);
      reject(signal.reason);
    });
  });

test('JoinSet.len grows with each spawn and shrinks with each join; joinNext() of none is undefined', async () => {
  const set = new JoinSet<number>();
  expect(await set.joinNext()).toBeUndefined();
  expect([set.len, set.isEmpty]).toEqual([0, true]);
  set.spawn(after(1));
  set.spawn(after(2));
  expect(set.len).toBe(2);
  await set.joinNext();
  expect(set.len).toBe(1);
  set.spawn(after(3));
  expect(set.len).toBe(2);
  await set.joinNext();
  await set.joinNext();
  expect([set.len, set.isEmpty]).toEqual([0, true]);
  expect(await set.joinNext()).toBeUndefined();
  for (let i = 0; i < 20; i++) {
    set.spawn(after(1));
    expect(set.len).toBe(1);
    await set.joinNext();
    expect(set.len).toBe(0);
  }
});

test('JoinSet.joinNext() yields in order of completion, every result once', async () => {
  const set = new JoinSet<number>();
  for (const hops of [30, 10, 20]) set.spawn(after(hops));
  const values: unknown[] = [];
  for (let result = await set.joinNext(); result !== undefined; result = await set.joinNext()) {
    values.push(result.status === 'fulfilled' && result.value);
  }
  expect(values).toEqual([10, 20, 30]);
});

test('JoinSet.detachAll() empties the set without stopping the tasks', async () => {
  const set = new JoinSet<void>();
  let finished = 0;
  set.spawn(async () => {
    await turn();
    finished++;
  });
  set.spawn(async () => {
    await turn();
    throw new Error('nobody hears of it');
  });
  const waiting = set.joinNext();
  set.detachAll();
  expect(set.len).toBe(0);
  expect(await waiting).toBeUndefined();
  await turn();
  await turn();
  expect([finished, set.len]).toEqual([1, 0]);
});

test('JoinSet[Symbol.dispose]() aborts all tasks: each sees its abort', async () => {
  const log: string[] = [];
  {
    using set = new JoinSet<string>();
    set.spawn(obedient(log, 'a'));
    set.spawn(obedient(log, 'b'));
    set.spawn(never);
    await turn();
    expect(set.len).toBe(3);
  }
  await turn();
  await turn();
  expect(log).toEqual(['a', 'b']);
  {
    await using set = new JoinSet<string>();
    set.spawn(obedient(log, 'c'));
    await turn();
  }
  expect(log).toEqual(['a', 'b', 'c']);
});

test('AbortHandle.abort() cancels one task, the others complete', async () => {
  const set = new JoinSet<number | string>();
  const log: string[] = [];
  const handles = [set.spawn(never), set.spawn(after(5)), set.spawn(obedient(log, 'x'))];
  handles[0]?.abort('enough');
  handles[2]?.abort('enough');
  const results: TaskResult<number | string>[] = [];
  for await (const result of set) results.push(result);
  const byId = new Map(results.map((result) => [result.id, result]));
  expect(byId.get(handles[0]?.id as number)).toMatchObject({ status: 'cancelled', reason: 'enough' });
  expect(byId.get(handles[1]?.id as number)).toMatchObject({ status: 'fulfilled', value: 5 });
  expect(byId.get(handles[2]?.id as number)).toMatchObject({ status: 'cancelled' });
  expect(handles.every(({ isFinished }) => isFinished)).toBe(true);
  handles[1]?.abort();
});

test('JoinSet.abortAll() leaves the entries: finished ones with values, pending as cancelled', async () => {
  const set = new JoinSet<number>();
  for (let i = 0; i < 3; i++) set.spawn(after(0));
  for (let i = 0; i < 3; i++) set.spawn(never);
  set.spawn(never());
  await turn();
  set.abortAll();
  set.abortAll();
  expect(set.len).toBe(7);
  const statuses: string[] = [];
  for await (const result of set) statuses.push(result.status);
  expect(statuses.filter((status) => status === 'fulfilled')).toHaveLength(3);
  expect(statuses.filter((status) => status === 'cancelled')).toHaveLength(4);
  const [reason] = [await cancelledReason()];
  expect(reason).toBeInstanceOf(DOMException);

  async function cancelledReason(): Promise<unknown> {
    const one = new JoinSet();
    one.spawn(never).abort();
    const result = await one.joinNext();
    return result?.status === 'cancelled' ? result.reason : undefined;
  }
});

test('a task that is aborted before it has begun never begins', async () => {
  const set = new JoinSet<void>();
  let begun = false;
  set
    .spawn(async () => {
      begun = true;
    })
    .abort();
  expect((await set.joinNext())?.status).toBe('cancelled');
  expect(begun).toBe(false);
});

test('a task that is aborted and then succeeds is cancelled all the same', async () => {
  const set = new JoinSet<string>();
  const handle = set.spawn(async (signal) => {
    while (!signal.aborted) await turn();
    return 'partial';
  });
  await turn();
  handle.abort();
  expect((await set.joinNext())?.status).toBe('cancelled');
});

test('JoinSet.shutdown() aborts and waits until the set is empty, clean-up included', async () => {
  const set = new JoinSet<string>();
  const log: string[] = [];
  set.spawn(obedient(log, 'cleaned'));
  set.spawn(never);
  set.spawn(async () => 'done');
  await turn();
  await set.shutdown();
  expect([set.len, log]).toEqual([0, ['cleaned']]);
});

test('a failure is a value of joinNext(), distinguishable from cancelled, and no unhandled rejection', async () => {
  const unheard = await unheardOf(async () => {
    const set = new JoinSet<number>();
    const fault = new Error('task');
    set.spawn(async () => {
      throw fault;
    });
    set.spawn(() => {
      throw fault;
    });
    set.spawn(Promise.reject(fault));
    await turn();
    await turn();
    for (let i = 0; i < 3; i++) expect(await set.joinNext()).toMatchObject({ status: 'rejected', reason: fault });
    set.spawn(async (signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw fault;
    });
    await turn();
    set.abortAll();
    expect(await set.joinNext()).toMatchObject({ status: 'cancelled' });
    const dropped = new JoinSet<number>();
    dropped.spawn(async () => {
      throw fault;
    });
    dropped[Symbol.dispose]();
  });
  expect(unheard).toEqual([]);
});

test('JoinSet.tryJoinNext() gives none at once, and drains 1000 finished tasks', async () => {
  const set = new JoinSet<number>();
  expect(set.tryJoinNext()).toBeUndefined();
  for (let i = 0; i < 1_000; i++) set.spawn(async () => i);
  expect(set.tryJoinNext()).toBeUndefined();
  await turn();
  let sum = 0;
  for (let result = set.tryJoinNext(); result !== undefined; result = set.tryJoinNext()) {
    if (result.status === 'fulfilled') sum += result.value;
  }
  expect([sum, set.len]).toEqual([499_500, 0]);
});

test('spawn ids are unique and match the joined ids', async () => {
  const sets = [new JoinSet<number>(), new JoinSet<number>()];
  const ids = Array.from({ length: 50 }, (_, i) => (sets[i % 2] as JoinSet<number>).spawn(async () => i).id);
  expect(new Set(ids).size).toBe(50);
  const joined: TaskResult<number>[] = [];
  for (const set of sets) for await (const result of set) joined.push(result);
  for (const result of joined) expect(result.status === 'fulfilled' && ids[result.value]).toBe(result.id);
});

test('many instantly finished tasks are joined while timers run', async () => {
  const set = new JoinSet<number>();
  for (let i = 0; i < 50_000; i++) set.spawn(Promise.resolve(i));
  await turn();
  let timer = false;
  let joined = 0;
  let joinedAtTimer = 0;
  setTimeout(() => {
    timer = true;
    joinedAtTimer = joined;
  }, 0);
  while ((await set.joinNext()) !== undefined) joined++;
  expect([timer, joined]).toEqual([true, 50_000]);
  expect(joinedAtTimer).toBeLessThan(50_000);
});

test('JoinSet two joinNext() at a time: one gets the result, the other none', async () => {
  const set = new JoinSet<number>();
  set.spawn(after(3));
  const both = await Promise.all([set.joinNext(), set.joinNext()]);
  expect(both[0]).toMatchObject({ value: 3 });
  expect(both[1]).toBeUndefined();
});

test('select() takes a JoinSet as an arm, which counts as ended while it is empty', async () => {
  const set = new JoinSet<number>();
  expect(await select({ task: set })).toEqual({ arm: null });
  set.spawn(after(3));
  expect(await select({ task: set })).toMatchObject({ arm: 'task', value: { status: 'fulfilled', value: 3 } });
  expect(set.len).toBe(0);
  set.spawn(never);
  expect(await select({ task: set, now: Promise.resolve(1) })).toEqual({ arm: 'now', value: 1 });
  expect(await stateOf(set.joinNext())).toBe('pending');
});
