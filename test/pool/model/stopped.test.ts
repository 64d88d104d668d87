/** What a pool does about workers that stand still; the workers are simulated. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/channels/index.js';
import { blockedLimitMs } from '../../../src/pool/model/supervision.js';
import { codeOf } from '../../support/outcomes.js';
import { type SimulatedWorker, simulate, simulated, simulateModel } from '../../support/simulated-worker.js';

describe('a worker that gives no sign of life', () => {
  test('is given nothing while another does, and what waits goes to that', async () => {
    const { clock, pool, workers, model } = simulateModel(
      { serviceMs: () => 10 },
      { minWorkers: 2, maxWorkers: 2, concurrency: 2, routing: 'roundRobin' },
    );
    await clock.advance(1);
    const [stopped, other] = workers as [SimulatedWorker, SimulatedWorker];
    stopped.isStopped = true;
    const calls = Array.from({ length: 20 }, (_, n) => model.call('echo', n));
    await clock.advance(200);
    expect(await Promise.all(calls)).toHaveLength(20);
    expect([stopped.given.length, other.given.length]).toEqual([0, 20]);
    expect(pool.health().status).toBe('degraded');
    stopped.isStopped = false;
    expect(pool.health().status).toBe('healthy');
    await pool.close();
  });

  test('is given calls where no other is better: it may be this process that has not listened', async () => {
    const { clock, pool, workers, model } = simulateModel({ serviceMs: () => 10 }, { minWorkers: 2, maxWorkers: 2 });
    await clock.advance(1);
    for (const worker of workers) worker.isStopped = true;
    const calls = Array.from({ length: 4 }, (_, n) => model.call('echo', n));
    for (const worker of workers) expect(worker.given).toHaveLength(1);
    for (const worker of workers) worker.isStopped = false;
    await clock.advance(200);
    expect(await Promise.all(calls)).toEqual([0, 1, 2, 3]);
    await pool.close();
  });

  test('costs a breaker one failure when it is killed, and none for the deadlines that passed meanwhile', async () => {
    const clock = new SimulatedClock();
    const { pool, workers } = simulate(clock, { serviceMs: () => 10 });
    const breaker = { failures: 2, failureRate: 0.01, windowMs: 60_000, openMs: 60_000, probes: 1 };
    const model = pool.register(
      'm',
      simulated({ minWorkers: 1, maxWorkers: 1, concurrency: 16, breaker, timeoutMs: 30_000 }),
    );
    await clock.advance(1);
    for (let turn = 0; turn < 10; turn += 1) {
      const answer = model.call('echo', 1);
      await clock.advance(10);
      await answer;
    }
    const [stopped] = workers as [SimulatedWorker];
    stopped.isStopped = true;
    const short = Array.from({ length: 8 }, () => model.call('echo', 2, { timeoutMs: 1_000 }).catch(codeOf));
    const long = Array.from({ length: 8 }, (_, n) => model.call('echo', n));
    await clock.advance(2_000);
    expect(new Set(await Promise.all(short))).toEqual(new Set(['ERR_DEADLINE_EXCEEDED']));
    expect(pool.health().models.m?.breaker).toBe('closed');
    stopped.crash();
    await clock.advance(1_000);
    expect(await Promise.all(long)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(pool.health().models.m?.breaker).toBe('closed');
    await pool.close();
  });
});

test('Pool.health() is degraded while a worker is a second past the deadline of a call that it holds, and no longer', async () => {
  const { clock, pool, model } = simulateModel(
    { serviceMs: (input) => input as number },
    { maxWorkers: 1, concurrency: 4, breaker: false },
  );
  const late = model.call('echo', 5_000, { timeoutMs: 500 }).catch(codeOf);
  await clock.advance(1_499);
  expect(await late).toBe('ERR_DEADLINE_EXCEEDED');
  expect(pool.health().status).toBe('healthy');
  await clock.advance(1);
  expect(pool.health()).toMatchObject({ status: 'degraded', models: { m: { status: 'degraded' } } });
  await clock.advance(3_500);
  expect(pool.health().status).toBe('healthy');
  await pool.close();
});

test('Pool.health() stays healthy while calls run out of time that the model soon lets go of', async () => {
  const { clock, pool, model } = simulateModel(
    { serviceMs: () => 300 },
    { maxWorkers: 1, concurrency: 8, breaker: false },
  );
  for (let turn = 0; turn < 50; turn += 1) {
    void model.call('echo', turn, { timeoutMs: 50 }).catch(() => {});
    await clock.advance(100);
    const { status, waiting } = pool.health().models.m!;
    expect(status).toBe(waiting > 0 ? 'degraded' : 'healthy');
  }
  await pool.close();
});

describe('blockedLimitMs()', () => {
  test('is a few times the 99th percentile, between 2 and 30 seconds', () => {
    const known = { answers: 1_000, loadMs: 500, maxBatch: 1 };
    expect(blockedLimitMs({ ...known, p99Ms: 40 })).toBe(2_000);
    expect(blockedLimitMs({ ...known, p99Ms: 1_000 })).toBe(4_000);
    expect(blockedLimitMs({ ...known, p99Ms: 20_000 })).toBe(30_000);
  });

  test('goes by the load before there are answers enough, and is the longest before there was one', () => {
    expect(blockedLimitMs({ answers: 0, p99Ms: undefined, loadMs: undefined, maxBatch: 8 })).toBe(30_000);
    expect(blockedLimitMs({ answers: 0, p99Ms: undefined, loadMs: 500, maxBatch: 8 })).toBe(4_000);
    expect(blockedLimitMs({ answers: 19, p99Ms: 5, loadMs: 1_000, maxBatch: 8 })).toBe(8_000);
    expect(blockedLimitMs({ answers: 20, p99Ms: 5, loadMs: 1_000, maxBatch: 8 })).toBe(2_000);
  });

  test('never takes a full batch for a hang, whatever was measured: single items, or the load that has run one', () => {
    const models = fc.record({
      itemMs: fc.integer({ min: 1, max: 3_000 }),
      maxBatch: fc.integer({ min: 1, max: 8 }),
      startMs: fc.integer({ min: 0, max: 1_000 }),
      answers: fc.integer({ min: 0, max: 100 }),
    });
    fc.assert(
      fc.property(models, ({ itemMs, maxBatch, startMs, answers }) => {
        const p99Ms = answers === 0 ? undefined : itemMs;
        const limit = blockedLimitMs({ answers, p99Ms, loadMs: startMs + itemMs, maxBatch });
        expect(limit).toBeGreaterThanOrEqual(Math.min(30_000, maxBatch * itemMs));
      }),
    );
  });
});

test("a worker's thread may be kept as long as was measured, where that is asked for, and as long as is said otherwise", async () => {
  const clock = new SimulatedClock();
  const { pool, starts } = simulate(clock, { loadMs: 400, serviceMs: () => 1_000 });
  const measured = pool.register('measured', simulated({ blockedTimeoutMs: 'measured', maxBatch: 8, maxWorkers: 1 }));
  pool.register('said', simulated({ blockedTimeoutMs: 5_000, minWorkers: 1 }));
  pool.register('neither', simulated({ minWorkers: 1 }));
  const answers = Array.from({ length: 32 }, (_, n) => measured.call('echo', n));
  await clock.advance(399);
  const limitOf = (start: (typeof starts)[0] | undefined) =>
    typeof start?.blockedTimeoutMs === 'function' ? start.blockedTimeoutMs() : start?.blockedTimeoutMs;
  const limits = () => starts.map(limitOf).sort();
  expect(limits()).toEqual([30_000, 5_000, undefined]);
  await clock.advance(1);
  expect(limits()).toEqual([3_200, 5_000, undefined]);
  await clock.advance(10_000);
  await Promise.all(answers);
  const [, limit] = limits();
  expect(limit).toBeGreaterThan(7_000);
  expect(limit).toBeLessThan(9_000);
  await pool.close();
});
