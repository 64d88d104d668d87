import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createBatcher, createWorkerChannels, operation, runWorker } from '../../src/worker/index.js';
import { turn } from '../support/settlement.js';

const operations = {
  echo: operation<unknown, unknown>({ capacity: 32 }),
  count: operation.stream<number, number>({ chunkCapacity: 4 }),
};

function heapAfterGc(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

test('a worker keeps nothing of the calls that were answered', async () => {
  const { handle, channels } = createWorkerChannels(operations, { clock: new SimulatedClock() });
  runWorker(
    {
      echo: async (input) => input,
      async *count(to) {
        for (let n = 0; n < to; n++) yield n;
      },
    },
    channels,
    { concurrency: 2 },
  );
  const signal = new AbortController().signal;
  // Warmed up by as much as is measured, and long enough that what the engine keeps once (code and feedback, some 200 KB) does not show.
  const ROUND = 12_000;
  const round = async (calls: number): Promise<void> => {
    for (let n = 0; n < calls; n += 3) {
      const controller = new AbortController();
      const given = handle.call('echo', new Array(50).fill(n), { signal: controller.signal }).catch(() => {});
      controller.abort();
      await Promise.all([given, handle.call('echo', new Array(50).fill(n), { signal, timeoutMs: 1_000 })]);
      for await (const chunk of handle.call('count', 10)) if (chunk === 3) break;
    }
  };
  await round(ROUND);
  await turn();
  const before = heapAfterGc();
  await round(ROUND);
  await turn();
  const grown = heapAfterGc() - before;
  // A request that was kept would be some 400 bytes and more.
  expect(grown / ROUND).toBeLessThan(60);
  await handle.close();
});

test('a call that was answered long before its deadline keeps nothing of its result', async () => {
  const { handle, channels } = createWorkerChannels(operations, { clock: new SimulatedClock() });
  runWorker({ echo: async () => ({ large: new Array(50) }), async *count() {} }, channels);
  const results: WeakRef<object>[] = [];
  for (let n = 0; n < 20; n++) {
    results.push(new WeakRef((await handle.call('echo', n, { timeoutMs: 30_000 })) as object));
  }
  // A reference that was looked at is kept to the end of the turn; the loop knows the last call until its turn is over.
  await turn();
  globalThis.gc?.();
  expect(results.filter((result) => result.deref() !== undefined).length).toBeLessThan(3);
  await handle.close();
});

test('a batcher keeps nothing of the items that were answered', async () => {
  const batcher = createBatcher<number[], number>({
    maxBatch: 8,
    run: async (items) => items.map((item) => item.length),
  });
  const round = async (items: number): Promise<void> => {
    for (let n = 0; n < items; n += 8) {
      const controller = new AbortController();
      const { signal } = controller;
      await Promise.all(Array.from({ length: 8 }, () => batcher.add(new Array(20).fill(n), { signal })));
    }
  };
  const ROUND = 32_000;
  await round(ROUND);
  await turn();
  const before = heapAfterGc();
  await round(ROUND);
  await turn();
  // An item that was kept would be some 200 bytes and more.
  expect((heapAfterGc() - before) / ROUND).toBeLessThan(30);
  await batcher.close();
});

test('nothing that a worker hands out prints an input', async () => {
  const { handle, channels } = createWorkerChannels(operations);
  const calls = [handle.call('echo', 'top secret'), handle.call('echo', 'top secret')];
  const [request] = await channels.operations.echo.recvMany(1);
  const stream = handle.call('count', 1);
  for (const each of [handle, handle.senders, channels, request, stream, handle.stats(), handle.state]) {
    expect(inspect(each, { depth: 12, showHidden: true })).not.toContain('secret');
  }
  await handle.destroy();
  await Promise.allSettled(calls);
});

test('a call that was answered leaves no clock timer behind once the worker is dead', async () => {
  const clock = new SimulatedClock();
  const { handle, channels } = createWorkerChannels(operations, { clock });
  runWorker({ echo: async (input) => input, async *count() {} }, channels);
  await Promise.all(Array.from({ length: 200 }, (_, n) => handle.call('echo', n, { timeoutMs: 30_000 })));
  expect(clock.pendingTimers).toBeLessThanOrEqual(2);
  await handle.close();
  expect(clock.pendingTimers).toBe(0);
});

test('a worker that is given up with a call that hangs leaves no clock timer behind', async () => {
  const clock = new SimulatedClock();
  const { handle, channels } = createWorkerChannels(operations, { clock });
  runWorker({ echo: () => new Promise(() => {}), async *count() {} }, channels, { idleTimeoutMs: 1_000 });
  const call = handle.call('echo', 1).catch(() => {});
  await clock.advance(1);
  const ending = handle.destroy();
  await clock.advance(5_000);
  await Promise.all([call, ending]);
  expect(clock.pendingTimers).toBe(0);
});
