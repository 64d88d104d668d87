import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { operation } from '../../../src/worker/index.js';
import { simulate } from '../../support/simulated-worker.js';

test('tryCall() does not wait outside of a full queue with an identical call that does', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', {
    module: 'simulated',
    operations: { echo: operation<number, unknown>({ capacity: 1 }) },
    maxWorkers: 1,
    coalesce: { echo: (input: number) => input },
  });
  await pool.warm('m');
  // One runs, one waits in the queue, one outside of it.
  const calls = [1, 2, 3].map((input) => model.call('echo', input));
  await clock.advance(0);
  expect(pool.health().models.m).toMatchObject({ inFlight: 1, queued: 1, waiting: 1 });
  await expect(model.tryCall('echo', 3)).rejects.toMatchObject({ code: 'ERR_POOL_OVERLOADED' });
  await expect(model.tryCall('echo', 4)).rejects.toMatchObject({ code: 'ERR_POOL_OVERLOADED' });
  // With those that have a place it does.
  const joined = [1, 2].map((input) => model.tryCall('echo', input));
  await clock.advance(300);
  expect(await Promise.all([...calls, ...joined])).toEqual([1, 2, 3, 1, 2]);
  expect(workers[0]?.given).toEqual([1, 2, 3]);
  expect(pool.stats()).toMatchObject({ accepted: 5, succeeded: 5, refused: 2, coalesced: 2, pending: 0 });
});

test('tryCall() is refused beside an identical call that waits for a worker, where the last one failed to start', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { loadError: (index) => (index === 0 ? new Error('load') : undefined) });
  const model = pool.register('m', {
    module: 'simulated',
    operations: { echo: operation<number, unknown>() },
    coalesce: { echo: (input: number) => input },
    backOffMs: 1_000,
  });
  await expect(model.call('echo', 1)).rejects.toThrow('load');
  const waiting = model.call('echo', 1);
  await expect(model.tryCall('echo', 1)).rejects.toMatchObject({ code: 'ERR_POOL_OVERLOADED', retryAfterMs: 1_000 });
  await clock.advance(1_000);
  expect(await waiting).toBe(1);
});
