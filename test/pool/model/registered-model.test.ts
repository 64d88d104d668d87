/** How calls are admitted, refused and counted. */
import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { PoolOverloadedError, UnknownModelError } from '../../../src/pool/index.js';
import { UnknownOperationError } from '../../../src/worker/index.js';
import { outcomes } from '../../support/outcomes.js';
import { simulate, simulated, simulateModel } from '../../support/simulated-worker.js';

const count = (list: readonly unknown[], wanted: unknown) => list.filter((each) => each === wanted).length;

test('Pool.call() rejects for an unknown model, operation or option', async () => {
  const { pool, starts } = simulate(new SimulatedClock());
  pool.register('m', simulated());
  await expect(pool.call('n', 'echo', 1)).rejects.toThrow(UnknownModelError);
  await expect(pool.call('m', 'ecoh', 1)).rejects.toThrow(UnknownOperationError);
  await expect(pool.call('m', 'echo', 1, { timeout: 5 } as never)).rejects.toThrow("unknown option 'timeout'");
  expect(starts).toEqual([]);
});

test('bounded queues are bounded: 200,000 calls into a capacity of 50 do not all get in', {
  timeout: 120_000,
}, async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { loadMs: 1_000 });
  const { echo } = simulated().operations;
  const model = pool.register('m', {
    module: 'simulated',
    operations: { echo: { ...echo, capacity: { items: 50, bytes: Number.POSITIVE_INFINITY } } },
  });
  const results = outcomes(Array.from({ length: 200_000 }, (_, index) => model.tryCall('echo', index)));
  await clock.advance(1);
  expect(count(results, 'ERR_POOL_OVERLOADED')).toBe(199_950);
  expect(pool.stats()).toMatchObject({ accepted: 50, refused: 199_950, pending: 50 });
  expect(pool.stats().models.m).toMatchObject({ queued: 50 });
});

test('ModelHandle.tryCall() is refused at once with retryAfterMs, ModelHandle.call() waits for room within its deadline', async () => {
  const { clock, pool, model } = simulateModel({ serviceMs: () => 100 }, { maxWorkers: 1, queueLimit: 2 });
  const results = outcomes([1, 2, 3].map((index) => model.call('echo', index)));
  await clock.advance(0);
  const refused = await model.tryCall('echo', 'no').catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(PoolOverloadedError);
  expect((refused as PoolOverloadedError).retryAfterMs).toBeGreaterThan(0);
  const waiting = outcomes([model.call('echo', 4, { timeoutMs: 50 }), model.call('echo', 5, { timeoutMs: 1_000 })]);
  expect(pool.stats().models.m).toMatchObject({ queued: 2, waiting: 2, accepted: 3 });
  await clock.advance(50);
  expect(waiting).toEqual(['ERR_POOL_OVERLOADED', 'pending']);
  await clock.advance(400);
  expect(results).toEqual([1, 2, 3]);
  expect(waiting[1]).toBe(5);
  expect(pool.stats()).toMatchObject({ accepted: 4, succeeded: 4, refused: 2 });
});

test('capacity counts bytes where the operation limits them', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { loadMs: 1_000 });
  const { echo } = simulated().operations;
  const limited = { ...echo, capacity: { items: 64, bytes: 100 }, sizeOf: (input: unknown) => input as number };
  const model = pool.register('m', { module: 'simulated', operations: { echo: limited } });
  const results = outcomes([60, 30, 20, 10].map((bytes) => model.tryCall('echo', bytes)));
  await clock.advance(1);
  expect(results).toEqual(['pending', 'pending', 'ERR_POOL_OVERLOADED', 'pending']);
});

test('an answer after the deadline is no success', async () => {
  const { clock, pool, model } = simulateModel({ serviceMs: () => 100 }, { coalesce: { echo: String } });
  const results = outcomes([model.call('echo', 'x', { timeoutMs: 99 })]);
  await clock.advance(200);
  expect(results).toEqual(['ERR_DEADLINE_EXCEEDED']);
  expect(pool.stats()).toMatchObject({ succeeded: 0, expired: 1 });
});

test('refuseEarly turns a call away whose deadline cannot be met at the current rate', async () => {
  const { clock, workers, model } = simulateModel({ serviceMs: () => 100 }, { maxWorkers: 1, refuseEarly: true });
  const first = outcomes([model.call('echo', 0)]);
  await clock.advance(150);
  expect(first).toEqual([0]);
  const results = outcomes(Array.from({ length: 10 }, (_, index) => model.call('echo', index, { timeoutMs: 350 })));
  await clock.advance(0);
  expect(count(results, 'ERR_POOL_OVERLOADED')).toBe(7);
  await clock.advance(400);
  expect(results.slice(0, 3)).toEqual([0, 1, 2]);
  expect(workers[0]?.given).toHaveLength(4);
});

test('ModelHandle.callDetailed() says which worker answered and how long it took', async () => {
  const { clock, model } = simulateModel({ loadMs: 30, serviceMs: () => 12 });
  const answer = model.callDetailed('echo', 'x');
  await clock.advance(100);
  expect(await answer).toEqual({
    value: 'x',
    info: { worker: 'w0', queuedMs: 30, serviceMs: 12, attempts: 1, coalesced: false },
  });
});

test('a call that ran out of time while it waited for room is refused, never accepted', async () => {
  const { clock, pool, model } = simulateModel({ serviceMs: () => 1_000 }, { maxWorkers: 1 });
  const first = outcomes([model.call('echo', 'first')]);
  await clock.advance(1);
  const results = outcomes(Array.from({ length: 164 }, () => model.call('echo', 1, { timeoutMs: 50 })));
  await clock.advance(50);
  expect(results).toEqual([...Array(64).fill('ERR_DEADLINE_EXCEEDED'), ...Array(100).fill('ERR_POOL_OVERLOADED')]);
  expect(pool.stats()).toMatchObject({ accepted: 65, expired: 64, refused: 100 });
  await clock.advance(1_000);
  expect(first).toEqual(['first']);
});

test('any number of waiting calls share one listener on a signal', async () => {
  const { clock, model } = simulateModel({ loadMs: 1_000 });
  const controller = new AbortController();
  const results = outcomes(
    Array.from({ length: 50 }, () => model.call('echo', 1, { signal: controller.signal, timeoutMs: 100 })),
  );
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  await clock.advance(100);
  expect(results).toEqual(Array(50).fill('ERR_DEADLINE_EXCEEDED'));
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
});

test('a call that gives itself up while its key is made joins no run, and is refused', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 10 });
  let abort = () => {};
  const key = (input: unknown) => {
    if (input === 'second') abort();
    return 'same';
  };
  const model = pool.register('m', simulated({ coalesce: { echo: key } }));
  const first = outcomes([model.call('echo', 'first')]);
  const controller = new AbortController();
  const reason = new Error('never mind');
  abort = () => controller.abort(reason);
  const second = outcomes([model.call('echo', 'second', { signal: controller.signal })]);
  await clock.advance(20);
  expect([first, second]).toEqual([['first'], [reason]]);
  expect(reason).not.toHaveProperty('fault');
  expect(workers[0]?.given).toEqual(['first']);
  expect(pool.stats()).toMatchObject({ accepted: 1, succeeded: 1, refused: 1, coalesced: 0, pending: 0 });
});

test('a call whose key closes its pool is refused, also where no worker is there', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock);
  let closed: Promise<void> | undefined;
  const key = () => {
    closed = pool.close();
    return 'same';
  };
  const model = pool.register('m', simulated({ coalesce: { echo: key } }));
  const results = outcomes([model.call('echo', 'first')]);
  await clock.advance(1);
  expect(results).toEqual(['ERR_POOL_CLOSED']);
  await closed;
  expect(pool.stats()).toMatchObject({ accepted: 0, refused: 1, pending: 0 });
});
