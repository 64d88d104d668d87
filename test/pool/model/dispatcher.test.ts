/** How requests wait, are bound to workers and end. */
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { BreakerOpenError, MemoryExhaustedError, MemoryGovernor } from '../../../src/pool/index.js';
import { outcomes } from '../../support/outcomes.js';
import { simulate, simulated, simulateModel } from '../../support/simulated-worker.js';

const count = (list: readonly unknown[], wanted: unknown) => list.filter((each) => each === wanted).length;

async function settleAll(clock: SimulatedClock, promises: Promise<unknown>[]) {
  const all = Promise.all(promises.map((promise) => promise.catch((error: unknown) => error)));
  await clock.advance(1);
  return await all;
}

test('a loading worker gets no request', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 500, serviceMs: () => 100 },
    { maxWorkers: 2, scaleUpAfterMs: 10 },
  );
  const warm = pool.warm('m', 1);
  await clock.advance(500);
  await warm;
  const results = outcomes(Array.from({ length: 8 }, (_, index) => model.call('echo', index)));
  await clock.advance(400);
  expect(workers).toHaveLength(2);
  expect(workers[1]?.given).toEqual([]);
  expect(workers[0]?.given.length).toBeGreaterThan(3);
  await clock.advance(1_000);
  expect(count(results, 'pending')).toBe(0);
});

test('a worker gets a request only inside its window', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs: () => 10 },
    { concurrency: 3, maxWorkers: 2, minWorkers: 2 },
  );
  await clock.advance(1);
  const results = outcomes(Array.from({ length: 60 }, (_, index) => model.call('echo', index)));
  await clock.advance(1_000);
  expect(count(results, 'pending')).toBe(0);
  expect(workers.map((worker) => worker.mostInFlight)).toEqual([3, 3]);
  const batching = pool.register('b', simulated({ concurrency: 3, maxBatch: 4, minWorkers: 1 }));
  await clock.advance(1);
  outcomes(Array.from({ length: 60 }, (_, index) => batching.call('echo', index)));
  await clock.advance(1_000);
  expect(workers[2]?.mostInFlight).toBe(8);
});

test('a call that timed out or was aborted while it waited is never run', async () => {
  const { clock, pool, workers, model } = simulateModel({ serviceMs: () => 100 }, { maxWorkers: 1 });
  const abort = new AbortController();
  const results = outcomes([
    model.call('echo', 'first'),
    model.call('echo', 'late', { timeoutMs: 50 }),
    model.call('echo', 'aborted', { signal: abort.signal }),
    model.call('echo', 'last'),
  ]);
  await clock.advance(60);
  abort.abort(new Error('never mind'));
  await clock.advance(200);
  expect(results).toEqual(['first', 'ERR_DEADLINE_EXCEEDED', abort.signal.reason, 'last']);
  expect(workers[0]?.given).toEqual(['first', 'last']);
  expect(pool.stats()).toMatchObject({ accepted: 4, succeeded: 2, expired: 1, cancelled: 1, failed: 0, pending: 0 });
});

test('the place of a call that timed out inside the model is not given away before the model is done', async () => {
  const { clock, workers, model } = simulateModel(
    { serviceMs: (input) => (input === 'slow' ? 1_000 : 10) },
    { maxWorkers: 1 },
  );
  const results = outcomes([model.call('echo', 'slow', { timeoutMs: 100 }), model.call('echo', 'next')]);
  await clock.advance(500);
  expect(results).toEqual(['ERR_DEADLINE_EXCEEDED', 'pending']);
  expect(workers[0]?.given).toEqual(['slow']);
  await clock.advance(510);
  expect(results[1]).toBe('next');
});

test('priorities: a more urgent call goes first, and a saturated class leaves the stated share', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 1 });
  const { echo } = simulated().operations;
  const wide = { echo: { ...echo, capacity: { items: 10_000, bytes: Number.POSITIVE_INFINITY } } };
  const model = pool.register('m', {
    module: 'simulated',
    operations: wide,
    timeoutMs: Number.POSITIVE_INFINITY,
    maxWorkers: 1,
    shares: { normal: 0.2, batch: 0.1 },
  });
  for (let turn = 0; turn < 2_000; turn += 1) {
    for (const priority of ['batch', 'normal', 'interactive'] as const) void model.call('echo', priority, { priority });
  }
  await clock.advance(1_000);
  const given = workers[0]?.given.slice(0, 1_000) ?? [];
  expect(count(given, 'batch')).toBeGreaterThanOrEqual(99);
  expect(count(given, 'normal')).toBeGreaterThanOrEqual(199);
  expect(count(given, 'interactive')).toBeGreaterThanOrEqual(690);
});

test('coalescing: identical requests share one run, and a cancelled one does not cancel the others', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs: () => 100 },
    { concurrency: 4, coalesce: { echo: (input: unknown) => (input as { key: string }).key } },
  );
  const abort = new AbortController();
  const results = outcomes([
    model.call('echo', { key: 'a', n: 1 }, { signal: abort.signal }),
    model.call('echo', { key: 'a', n: 2 }),
    model.call('echo', { key: 'b', n: 3 }),
    model.call('echo', { key: 'a', n: 4 }, { timeoutMs: 50 }),
  ]);
  await clock.advance(10);
  abort.abort(new Error('never mind'));
  await clock.advance(40);
  expect(results).toEqual([abort.signal.reason, 'pending', 'pending', 'ERR_DEADLINE_EXCEEDED']);
  await clock.advance(50);
  expect(results.slice(1, 3)).toEqual([
    { key: 'a', n: 1 },
    { key: 'b', n: 3 },
  ]);
  expect(workers[0]?.given).toHaveLength(2);
  // Nothing is in flight any more: the same request is a new run.
  const again = outcomes([model.call('echo', { key: 'a', n: 5 })]);
  await clock.advance(100);
  expect(again).toEqual([{ key: 'a', n: 5 }]);
  expect(pool.stats()).toMatchObject({ accepted: 5, succeeded: 3, cancelled: 1, expired: 1, coalesced: 2 });
});

test('coalescing: a run is given up once nobody waits for it', async () => {
  const { clock, model } = simulateModel({ serviceMs: () => 100 }, { maxWorkers: 1, coalesce: { echo: String } });
  const aborts = [new AbortController(), new AbortController()];
  const results = outcomes(aborts.map(({ signal }) => model.call('echo', 'same', { signal })));
  await clock.advance(10);
  for (const abort of aborts) abort.abort('gone');
  const next = outcomes([model.call('echo', 'same')]);
  await clock.advance(100);
  await clock.advance(100);
  expect(results).toEqual(['gone', 'gone']);
  expect(next).toEqual(['same']);
});

class BadInput extends Error {
  readonly fault = 'caller';
}

test('1 % bad input over 10,000 calls does not open the breaker', async () => {
  const answer = (input: unknown) => {
    if ((input as number) % 100 === 0) throw new BadInput('no image');
    return input;
  };
  const { clock, pool, model } = simulateModel({ answer }, { concurrency: 64 });
  const results: unknown[] = [];
  for (let turn = 0; turn < 10_000; turn += 50) {
    results.push(
      ...(await settleAll(
        clock,
        Array.from({ length: 50 }, (_, index) => model.call('echo', turn + index)),
      )),
    );
  }
  expect(results.filter((each) => each instanceof BadInput)).toHaveLength(100);
  expect(pool.health().models.m).toMatchObject({ breaker: 'closed' });
  expect(pool.stats()).toMatchObject({ accepted: 10_000, succeeded: 9_900, failed: 100 });
});

test('the breaker counts the faults of the model and timeouts, and half-open admits exactly the configured probes', async () => {
  const clock = new SimulatedClock();
  let broken = true;
  const answer = (input: unknown) => {
    if (broken) throw new Error('out of order');
    return input;
  };
  const { pool, workers } = simulate(clock, { answer, serviceMs: (input) => (input === 'hang' ? 500 : 10) });
  const breaker = { failures: 3, windowMs: 10_000, openMs: 5_000, probes: 2 };
  const model = pool.register('m', simulated({ concurrency: 8, breaker }));
  const first = outcomes([
    model.call('echo', 1),
    model.call('echo', 2),
    model.call('echo', 'hang', { timeoutMs: 100 }),
  ]);
  await clock.advance(100);
  expect(first.slice(2)).toEqual(['ERR_DEADLINE_EXCEEDED']);
  await expect(model.call('echo', 4)).rejects.toThrow(BreakerOpenError);
  await expect(model.call('echo', 4)).rejects.toMatchObject({ retryAfterMs: 5_000 });
  expect(pool.health()).toMatchObject({ status: 'unhealthy', models: { m: { breaker: 'open' } } });
  broken = false;
  await clock.advance(5_000);
  const before = workers[0]?.given.length as number;
  const probes = outcomes(Array.from({ length: 10 }, (_, index) => model.call('echo', index)));
  await clock.advance(5);
  expect((workers[0]?.given.length as number) - before).toBe(2);
  expect(count(probes, 'ERR_BREAKER_OPEN')).toBe(8);
  await clock.advance(10);
  expect(pool.health()).toMatchObject({ status: 'healthy', models: { m: { breaker: 'closed' } } });
  expect(pool.stats().models.m?.breakerRejections).toBe(10);
});

test('a shortage of memory does not open the breaker', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 5e6, clock });
  // While nothing is held, a first worker would be granted what it needs.
  governor.tryAcquire('another pool', 1);
  const { pool } = simulate(clock, {}, { governor });
  const model = pool.register('m', simulated({ costMb: 10, memoryWaitMs: 1, backOffMs: 1, breaker: { failures: 1 } }));
  for (let turn = 0; turn < 3; turn += 1) {
    expect((await settleAll(clock, [model.call('echo', 1)]))[0]).toBeInstanceOf(MemoryExhaustedError);
    await clock.advance(100);
  }
  expect(pool.health().models.m?.breaker).toBe('closed');
});
