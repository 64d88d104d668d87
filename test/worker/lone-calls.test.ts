/** Calls that come one at a time, which the loop starts without its queues: what they must not do differently from others. */
import { AsyncLocalStorage } from 'node:async_hooks';
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
