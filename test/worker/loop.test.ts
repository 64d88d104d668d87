/** Orders of events that only a clock moved by hand brings about: timers that come late, and in the middle of a turn. */
import { expect, test } from 'vitest';
import { type Clock, type ClockTimer, type ClockTimerOptions, systemClock } from '../../src/core/index.js';
import { createBatcher, createWorkerChannels, operation, runWorker } from '../../src/worker/index.js';
import { Request, type Worker } from '../../src/worker/internal.js';
import { turn } from '../support/settlement.js';

/** A clock whose time is set, and whose timers fire when they are told to, at once. */
class HandClock implements Clock {
  time = 0;
  readonly held: boolean[] = [];
  readonly #timers = new Set<{ readonly due: number; readonly callback: () => void }>();

  now(): number {
    return this.time;
  }

  setTimer(callback: () => void, ms: number, options?: ClockTimerOptions): ClockTimer {
    const timer = { due: this.time + ms, callback };
    this.#timers.add(timer);
    this.held.push(options?.ref === true);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  fire(): void {
    for (const timer of [...this.#timers]) {
      if (timer.due <= this.time && this.#timers.delete(timer)) timer.callback();
    }
  }
}

test('runWorker() does not run a call whose deadline passed while another kept the thread, though its timer had no turn', async () => {
  const clock = new HandClock();
  const operations = { block: operation<number, string>(), note: operation<string, string>() };
  const { handle, channels } = createWorkerChannels(operations, { clock });
  const ran: string[] = [];
  let release = (_: string): void => {};
  runWorker(
    {
      block: (ms) => {
        clock.time += ms;
        return new Promise((resolve) => {
          release = resolve;
        });
      },
      note: (text) => {
        ran.push(text);
        return text;
      },
    },
    channels,
    { concurrency: 2 },
  );
  await turn();
  const blocked = handle.call('block', 100);
  const late = handle.call('note', 'late', { timeoutMs: 50 }).catch((error: unknown) => error);
  const inTime = handle.call('note', 'in time', { timeoutMs: 500 });
  expect(await inTime).toBe('in time');
  expect(await late).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  expect(ran).toEqual(['in time']);
  release('done');
  expect(await blocked).toBe('done');
  expect(handle.stats()).toMatchObject({ accepted: 3, succeeded: 2, expired: 1 });
  await handle.close();
});

test('runWorker() becomes idle later when a request came in the very turn in which it would have', async () => {
  const clock = new HandClock();
  const { handle, channels } = createWorkerChannels({ hold: operation<Promise<void>, string>() }, { clock });
  const model = {
    hold: async (until: Promise<void>) => {
      await until;
      return 'held';
    },
  };
  runWorker(model, channels, { concurrency: 2, idleTimeoutMs: 1_000 });
  await turn();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  clock.time = 1_000;
  const call = handle.call('hold', held);
  clock.fire();
  await turn();
  expect(handle.state.current).toBe('processing');
  release();
  await call;
  await turn();
  expect(handle.state.current).toBe('ready');
  clock.time = 3_000;
  clock.fire();
  await turn();
  clock.time = 5_000;
  clock.fire();
  await turn();
  expect(handle.state.current).toBe('idle');
  await handle.close();
});

test('runWorker() is not idle right after a call that came in the turn in which it would have been', async () => {
  const clock = new HandClock();
  const { handle, channels } = createWorkerChannels({ hold: operation<Promise<string>, string>() }, { clock });
  runWorker({ hold: (until) => until }, channels, { idleTimeoutMs: 1_000 });
  await turn();
  let release = (_: string): void => {};
  const held = new Promise<string>((resolve) => {
    release = resolve;
  });
  clock.time = 1_000;
  const call = handle.call('hold', held);
  clock.fire();
  await turn();
  release('held');
  await call;
  await turn();
  expect(handle.state.current).toBe('ready');
  clock.time = 2_000;
  clock.fire();
  await turn();
  expect(handle.state.current).toBe('idle');
  await handle.close();
});

test('runWorker() calls methods that do not wait from the same depth, however many calls are there', async () => {
  const { handle, channels } = createWorkerChannels({ depth: operation<undefined, number>({ capacity: 1_000 }) });
  const { stackTraceLimit, prepareStackTrace } = Error;
  Error.stackTraceLimit = Number.POSITIVE_INFINITY;
  Error.prepareStackTrace = (_, frames) => frames.length;
  try {
    runWorker({ depth: () => new Error('here').stack as unknown as number }, channels);
    await turn();
    // While the loop lingers after the first, the others are started from where they come.
    await handle.call('depth', undefined);
    const depths = await Promise.all(Array.from({ length: 900 }, () => handle.call('depth', undefined)));
    expect(Math.max(...depths) - Math.min(...depths)).toBeLessThan(20);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    Error.prepareStackTrace = prepareStackTrace;
  }
  await handle.close();
});

test('runWorker() starts no call before one of another operation that came earlier, however long a method keeps the thread', async () => {
  const clock = new HandClock();
  const operations = {
    one: operation<number, void>(),
    two: operation<number, void>(),
    warm: operation<number, void>(),
  };
  const { handle, channels } = createWorkerChannels(operations, { clock });
  const order: string[] = [];
  const spin = (name: string) => (value: number) => {
    order.push(`${name}${value}`);
    clock.time += 9;
  };
  runWorker({ one: spin('one'), two: spin('two'), warm: () => {} }, channels);
  await handle.call('warm', 0);
  const caller = async (name: 'one' | 'two') => {
    for (let value = 1; value <= 4; value++) await handle.call(name, value);
  };
  await Promise.all([caller('one'), caller('two')]);
  expect(order.slice(0, 3)).toEqual(['one1', 'two1', 'one2']);
  expect(order).toHaveLength(8);
  await handle.close();
});

test('WorkerHandle.destroy() ends a loop that pauses as the last call leaves the model', async () => {
  const clock = new HandClock();
  const { handle, channels } = createWorkerChannels({ wait: operation<boolean, void>() }, { clock });
  let isDisposed = false;
  let release = (): void => {};
  const finished = runWorker(
    {
      // What is held ends a moment after it is given up.
      wait: (isHeld, { signal }) =>
        new Promise<void>((resolve, reject) => {
          if (isHeld) signal.addEventListener('abort', () => setImmediate(reject, signal.reason), { once: true });
          else release = resolve;
        }),
      dispose() {
        isDisposed = true;
      },
    },
    channels,
    { concurrency: 3 },
  );
  await handle.state.waitFor('ready');
  const held = handle.call('wait', true).catch((error: unknown) => error);
  const other = handle.call('wait', false);
  await turn();
  // Longer than a burst.
  clock.time += 12;
  release();
  await other;
  await handle.destroy();
  await held;
  await finished;
  expect(isDisposed).toBe(true);
}, 4_000);

test('BatcherOptions.maxDelayMs holds the process while an item waits for company', async () => {
  const clock = new HandClock();
  const batcher = createBatcher<number, number>({ maxDelayMs: 50, run: (items) => items, clock });
  const answer = batcher.add(1);
  await turn();
  expect(clock.held).toEqual([true]);
  clock.time = 50;
  clock.fire();
  expect(await answer).toBe(1);
  await batcher.close();
});

test('createBatcher() gathers items from several operations of a model into one batch', async () => {
  const batches: string[][] = [];
  const batcher = createBatcher<string, string>({
    run: (items) => {
      batches.push(items);
      return items.map((item) => item.toUpperCase());
    },
  });
  const operations = { title: operation<string, string>(), body: operation<string, string>() };
  const { handle, channels } = createWorkerChannels(operations);
  runWorker({ title: (text) => batcher.add(text), body: (text) => batcher.add(text) }, channels, { concurrency: 4 });
  await turn();
  const answers = [handle.call('title', 'a'), handle.call('body', 'b'), handle.call('title', 'c')];
  expect(await Promise.all(answers)).toEqual(['A', 'B', 'C']);
  expect(batches.some((items) => items.includes('b') && items.length > 1)).toBe(true);
  await handle.close();
  await batcher.close();
});

test('runWorker() does not run a call that was taken back in the turn in which it came, and that another worker has', async () => {
  const operations = { note: operation<string, string>() };
  const ran: string[] = [];
  const workers = ['first', 'second'].map((name) => {
    const { handle, channels } = createWorkerChannels(operations, { id: name });
    runWorker({ note: (text) => `${name}: ${ran.push(text)}` }, channels);
    return handle as unknown as Worker;
  });
  await turn();
  const [first, second] = workers as [Worker, Worker];
  const answers: unknown[] = [];
  const fields = { operation: 'note', declaration: operations.note, input: 'once', bytes: 0, calledAt: 0 };
  const request = new Request(
    { ...fields, clock: systemClock },
    {
      onAnswered: (_, __, result) => answers.push(result),
      isRetried: () => true,
      onLost: (lost) => second.start(lost),
    },
  );
  first.start(request);
  await first.destroy();
  await turn();
  expect([answers, ran]).toEqual([['second: 1'], ['once']]);
  expect(second.stats()).toMatchObject({ accepted: 1, succeeded: 1, pending: 0, inFlight: 0 });
  await second.close();
});
