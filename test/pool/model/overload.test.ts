import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { RateEstimate } from '../../../src/pool/observe/counts.js';
import { simulate, simulated, simulateModel } from '../../support/simulated-worker.js';

test('under three times its capacity, with deadlines of ten service times, a pool gives 95 % of its capacity in answers in time', async () => {
  const clock = new SimulatedClock();
  let turn = 0;
  // 4 to 6 ms, in an order without a pattern that matters.
  const { pool, workers } = simulate(clock, { serviceMs: () => 4 + ((turn++ * 7) % 21) / 10 });
  const model = pool.register('m', simulated({ minWorkers: 4, maxWorkers: 4, refuseEarly: true, breaker: false }));
  await clock.advance(1);
  const seconds = 5;
  let inTime = 0;
  let late = 0;
  const once = () => {
    const start = clock.now();
    model.call('echo', 1, { timeoutMs: 50 }).then(
      () => {
        if (clock.now() - start <= 50) inTime += 1;
        else late += 1;
      },
      () => {},
    );
  };
  const capacity = (4 / 5) * 1_000;
  for (let offered = 0; offered < 3 * capacity * seconds; offered += 3) {
    once();
    once();
    once();
    await clock.advance(1_000 / capacity);
  }
  await clock.advance(100);
  expect(late).toBe(0);
  expect(inTime).toBeGreaterThan(0.95 * capacity * seconds);
  const run = workers.reduce((sum, worker) => sum + worker.given.length, 0);
  expect(run - inTime).toBeLessThan(0.02 * run);
  const stats = pool.stats();
  expect(stats.accepted).toBe(stats.succeeded + stats.expired);
});

test('service times that scatter cost no more than those that are too long by themselves: under overload the newest goes first', async () => {
  const clock = new SimulatedClock();
  // One in ten takes four times as long, one in fifty ten times: a machine with other things to do.
  const times = Array.from({ length: 100 }, (_, turn) => (turn % 50 === 7 ? 60 : turn % 10 === 3 ? 24 : 6));
  const meanMs = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  let turn = 0;
  const { pool } = simulate(clock, { serviceMs: () => times[(turn++ * 37) % 100] as number });
  const model = pool.register('m', simulated({ minWorkers: 4, maxWorkers: 4, refuseEarly: true, breaker: false }));
  await clock.advance(1);
  const capacity = (4 / meanMs) * 1_000;
  const seconds = 5;
  let inTime = 0;
  for (let offered = 0; offered < 3 * capacity * seconds; offered += 1) {
    model.call('echo', 1, { timeoutMs: 50 }).then(
      () => {
        inTime += 1;
      },
      () => {},
    );
    await clock.advance(1_000 / (3 * capacity));
  }
  await clock.advance(100);
  // 2 % take longer than the deadline on their own.
  expect(inTime).toBeGreaterThan(0.95 * capacity * seconds);
});

test('refuseEarly never locks a pool out: one slow answer does not refuse all that come after it', async () => {
  const { clock, model } = simulateModel(
    { serviceMs: (input) => input as number },
    { maxWorkers: 1, refuseEarly: true },
  );
  const slow = model.call('echo', 5_000);
  await clock.advance(5_000);
  await slow;
  let answered = 0;
  for (let turn = 0; turn < 100; turn += 1) {
    model.call('echo', 10, { timeoutMs: 100 }).then(
      () => {
        answered += 1;
      },
      () => {},
    );
    await clock.advance(20);
  }
  expect(answered).toBe(100);
});

test('RateEstimate tells the mean and what most stay below', () => {
  const rate = new RateEstimate();
  expect([rate.serviceMs, rate.likelyServiceMs, rate.waitMs(3, 2)]).toEqual([undefined, 0, undefined]);
  for (let turn = 0; turn < 100; turn += 1) rate.observe(turn % 2 === 0 ? 8 : 12);
  expect(rate.serviceMs).toBeCloseTo(10, 0);
  expect(rate.likelyServiceMs).toBeGreaterThan(12);
  expect(rate.likelyServiceMs).toBeLessThan(16);
  expect(rate.waitMs(8, 4)).toBeCloseTo(20, 0);
  for (let turn = 0; turn < 500; turn += 1) rate.observe(turn % 50 === 0 ? 1_000 : 1);
  expect(rate.likelyServiceMs).toBeLessThanOrEqual(2 * (rate.serviceMs as number));
});
