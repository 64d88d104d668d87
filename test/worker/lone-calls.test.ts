/** Calls that come one at a time, which the loop starts without its queues: what they must not do differently from others. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createWorkerChannels, operation, runWorker } from '../../src/worker/index.js';

test('runWorker() runs a call that a method makes to its own worker in the context of that call', async () => {
  const context = new AsyncLocalStorage<string>();
  const { handle, channels } = createWorkerChannels({
    outer: operation<number, number>(),
    inner: operation<number, unknown>(),
  });
  let inner: Promise<unknown> | undefined;
  const model = {
    outer(value: number) {
      inner = context.run('inner', () => handle.call('inner', value));
      return value;
    },
    inner: () => context.getStore(),
  };
  runWorker(model as never, channels, { concurrency: 2 });
  await context.run('warm', () => handle.call('inner', 0));
  await context.run('outer', () => handle.call('outer', 1));
  expect(await inner).toBe('inner');
  await handle.close();
});

test('runWorker() starts no call before one of another operation that came earlier, however long a method keeps the thread', async () => {
  const { handle, channels } = createWorkerChannels({
    one: operation<number, void>(),
    two: operation<number, void>(),
    warm: operation<number, void>(),
  });
  const order: string[] = [];
  const spin = (name: string) => (value: number) => {
    order.push(`${name}${value}`);
    const end = performance.now() + 9;
    while (performance.now() < end);
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
  const { handle, channels } = createWorkerChannels({ wait: operation<number, void>() });
  let isDisposed = false;
  const finished = runWorker(
    {
      // Ends a moment after it is given up.
      wait: (ms, { signal }) =>
        ms > 0
          ? sleep(ms)
          : new Promise<void>((_, reject) => {
              signal.addEventListener('abort', () => setImmediate(reject, signal.reason), { once: true });
            }),
      dispose() {
        isDisposed = true;
      },
    },
    channels,
    { concurrency: 3 },
  );
  await handle.state.waitFor('ready');
  const held = handle.call('wait', 0).catch((error: unknown) => error);
  await handle.call('wait', 12);
  await handle.destroy();
  await held;
  await finished;
  expect(isDisposed).toBe(true);
}, 4_000);

test('runWorker() answers a call whose result throws when it is asked whether it is a promise, and serves on', async () => {
  const { handle, channels } = createWorkerChannels({
    same: operation<number, number>(),
    odd: operation<number, unknown>(),
  });
  const model = {
    same: (value: number) => value,
    odd: () => ({
      get then(): never {
        throw new Error('no promise');
      },
    }),
  };
  runWorker(model as never, channels);
  await handle.call('same', 1);
  await expect(handle.call('odd', 1)).rejects.toThrow('no promise');
  expect(await handle.call('same', 2)).toBe(2);
  expect(handle.stats()).toMatchObject({ inFlight: 0 });
  await handle.close();
});
