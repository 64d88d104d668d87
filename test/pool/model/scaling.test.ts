import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { MemoryExhaustedError, MemoryGovernor, type PoolEvent, UnknownModelError } from '../../../src/pool/index.js';
import { decideScaling, type ScalingRules, type ScalingSnapshot } from '../../../src/pool/model/scaling.js';
import { outcomes } from '../../support/outcomes.js';
import { simulate, simulated, simulateModel } from '../../support/simulated-worker.js';

const rules: ScalingRules = { minWorkers: 0, maxWorkers: 4, scaleUpAfterMs: 100, idleTimeoutMs: 1_050 };
const base: ScalingSnapshot = {
  now: 10_000,
  queued: 0,
  starting: 0,
  missing: 0,
  workers: [],
  saturatedSince: undefined,
  lastGrowthAt: Number.NEGATIVE_INFINITY,
  notBefore: Number.NEGATIVE_INFINITY,
};
const decide = (snapshot: Partial<ScalingSnapshot>, more: Partial<ScalingRules> = {}) => {
  const { evict, ...decision } = decideScaling({ ...rules, ...more }, { ...base, ...snapshot });
  return { ...decision, evict: evict.map(({ id }) => id) };
};
const busy = (id: string) => ({ id, idleSince: undefined });
const idle = (id: string, idleSince: number) => ({ id, idleSince });
const nothing = { start: 0, evict: [], recheckAt: undefined };

test('decideScaling() does nothing for a model nobody calls', () => {
  expect(decide({})).toEqual(nothing);
});

test('decideScaling() starts one worker for the first request, and no second while that one starts', () => {
  expect(decide({ queued: 50 }).start).toBe(1);
  expect(decide({ queued: 50, starting: 1, saturatedSince: 0 })).toEqual(nothing);
});

test('decideScaling() keeps minWorkers', () => {
  expect(decide({}, { minWorkers: 3 }).start).toBe(3);
  expect(decide({ workers: [busy('a')], starting: 1 }, { minWorkers: 3 }).start).toBe(1);
});

test('decideScaling() grows by one once all have been busy for longer than the threshold', () => {
  const workers = [busy('a'), busy('b')];
  expect(decide({ queued: 1, workers, saturatedSince: 9_950 })).toEqual({ start: 0, evict: [], recheckAt: 10_050 });
  expect(decide({ queued: 1, workers, saturatedSince: 9_900 }).start).toBe(1);
  expect(decide({ queued: 0, workers, saturatedSince: undefined })).toEqual(nothing);
});

test('decideScaling() counts anew after a worker has come', () => {
  const grown = decide({ queued: 9, workers: [busy('a')], saturatedSince: 0, lastGrowthAt: 9_970 });
  expect(grown).toEqual({ start: 0, evict: [], recheckAt: 10_070 });
});

test('decideScaling() never exceeds maxWorkers', () => {
  const workers = ['a', 'b', 'c', 'd'].map(busy);
  expect(decide({ queued: 99, workers, saturatedSince: 0 })).toEqual(nothing);
});

test('decideScaling() waits for the back-off to end', () => {
  expect(decide({ queued: 1, notBefore: 12_000 })).toEqual({ start: 0, evict: [], recheckAt: 12_000 });
  expect(decide({ queued: 1, notBefore: 10_000 }).start).toBe(1);
});

test('decideScaling() evicts the least recently used first, after the idle timeout, down to minWorkers', () => {
  const workers = [idle('new', 8_940), idle('old', 8_000), idle('older', 7_000)];
  expect(decide({ workers })).toEqual({ start: 0, evict: ['older', 'old', 'new'], recheckAt: undefined });
  expect(decide({ workers }, { minWorkers: 2 }).evict).toEqual(['older']);
  expect(decide({ workers: [idle('a', 8_951)] })).toEqual({ start: 0, evict: [], recheckAt: 10_001 });
});

test('decideScaling() evicts nobody while anything waits, and never a busy worker', () => {
  expect(decide({ queued: 1, workers: [idle('a', 0)] }).evict).toEqual([]);
  expect(decide({ workers: [busy('a'), idle('b', 0)] }).evict).toEqual(['b']);
});

test('decideScaling() does not thrash when load sits at the edge', () => {
  // One request too many for one worker, half of the time, in turns of 80 ms: never long enough to grow, never idle for long enough to shrink.
  let changes = 0;
  for (let now = 0; now < 60_000; now += 80) {
    const full = (now / 80) % 2 === 0;
    const decision = decide({
      now,
      queued: full ? 1 : 0,
      workers: [full ? busy('a') : idle('a', now)],
      saturatedSince: full ? now : undefined,
    });
    changes += decision.start + decision.evict.length;
  }
  expect(changes).toBe(0);
});

test('decideScaling() replaces what crashed at once where something waits, up to maxWorkers, and as starts may be made', () => {
  expect(decide({ workers: [busy('a')], missing: 2 })).toEqual(nothing);
  expect(decide({ workers: [busy('a')], queued: 1, missing: 2 }).start).toBe(2);
  expect(decide({ workers: [busy('a')], queued: 1, starting: 2, missing: 2 }).start).toBe(1);
  expect(decide({ queued: 1, missing: 2, notBefore: 11_000 })).toEqual({ start: 0, evict: [], recheckAt: 11_000 });
});

async function settleAll(clock: SimulatedClock, promises: Promise<unknown>[]) {
  const all = Promise.all(promises.map((promise) => promise.catch((error: unknown) => error)));
  await clock.advance(1);
  return await all;
}

test('scaling: another worker once all have been busy for long enough, up to maxWorkers, one at a time', async () => {
  const { clock, workers, model } = simulateModel(
    { loadMs: 200, serviceMs: () => 50 },
    { maxWorkers: 3, scaleUpAfterMs: 100 },
  );
  let running = true;
  const client = async () => {
    while (running) await model.call('echo', 1);
  };
  const clients = Array.from({ length: 12 }, client);
  await clock.advance(200);
  expect(workers).toHaveLength(1);
  await clock.advance(99);
  expect(workers).toHaveLength(1);
  await clock.advance(1);
  expect(workers).toHaveLength(2);
  await clock.advance(299);
  expect(workers).toHaveLength(2);
  await clock.advance(1);
  expect(workers).toHaveLength(3);
  await clock.advance(5_000);
  expect(workers).toHaveLength(3);
  running = false;
  await clock.advance(1_000);
  await Promise.all(clients);
});

test('idle workers are evicted least recently used first after idleTimeoutMs, down to minWorkers, with no traffic at all', async () => {
  const clock = new SimulatedClock();
  const { pool, governor } = simulate(clock, {});
  pool.register('m', simulated({ minWorkers: 1, maxWorkers: 3, costMb: 1, idleTimeoutMs: 1_100 }));
  const events: PoolEvent[] = [];
  void (async () => {
    for await (const event of pool.events()) events.push(event);
  })();
  await clock.advance(1);
  for (const target of [2, 3]) {
    const warm = pool.warm('m', target);
    await clock.advance(10);
    await warm;
  }
  // Ready since 0, 1 and 11.
  expect(governor.heldBytes).toBe(3e6);
  await clock.advance(1_078);
  expect(governor.heldBytes).toBe(3e6);
  await clock.advance(1);
  expect(governor.heldBytes).toBe(2e6);
  await clock.advance(1);
  expect(governor.heldBytes).toBe(1e6);
  await clock.advance(100_000);
  expect(governor.heldBytes).toBe(1e6);
  expect(events.filter((event) => event.type === 'evict').map((event) => 'worker' in event && event.worker)).toEqual([
    'w0',
    'w1',
  ]);
  expect(clock.pendingTimers).toBe(0);
});

test('an idle pool has no timer that polls', async () => {
  const { clock, model } = simulateModel({}, { idleTimeoutMs: Number.POSITIVE_INFINITY });
  const results = outcomes([model.call('echo', 1, { timeoutMs: 1_000 })]);
  await clock.advance(1);
  expect(results).toEqual([1]);
  // One timer for the deadlines of all requests may stay until the first of them has passed.
  await clock.advance(1_000);
  expect(clock.pendingTimers).toBe(0);
});

test('Pool.evict() evicts every idle worker and no busy one', async () => {
  const { clock, pool, workers, model } = simulateModel({ serviceMs: () => 100 }, { minWorkers: 3, maxWorkers: 3 });
  await clock.advance(1);
  const results = outcomes([model.call('echo', 'busy')]);
  await clock.advance(1);
  expect(await pool.evict('m')).toBe(2);
  expect(workers.filter((worker) => worker.state.current === 'dead')).toHaveLength(2);
  await clock.advance(100);
  expect(results).toEqual(['busy']);
  await expect(pool.evict('n')).rejects.toThrow(UnknownModelError);
});

test('under memory pressure idle workers of other models go, least recently used first, never a busy one', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 30e6, clock });
  const { pool, workers } = simulate(clock, { serviceMs: () => 1_000 }, { governor });
  const options = simulated({ costMb: 10, maxWorkers: 1, memoryWaitMs: 100 });
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((key) => pool.register(key, options));
  const first = outcomes([a!.call('echo', 'a')]);
  await clock.advance(1_500);
  outcomes([b!.call('echo', 'b')]);
  await clock.advance(1_500);
  expect(first).toEqual(['a']);
  const busy = outcomes([c!.call('echo', 'c')]);
  await clock.advance(10);
  const fourth = outcomes([d!.call('echo', 'd')]);
  await clock.advance(10);
  expect(workers.map((worker) => worker.state.current)).toEqual(['dead', 'ready', 'processing', 'processing']);
  // b goes next; then c and d are busy and a has to do without.
  const again = outcomes([a!.call('echo', 'a2')]);
  await clock.advance(10);
  expect(workers[1]?.state.current).toBe('dead');
  const refused = b!.call('echo', 'b2').catch((error: unknown) => error);
  await clock.advance(100);
  const error = (await refused) as MemoryExhaustedError;
  expect(error).toBeInstanceOf(MemoryExhaustedError);
  expect(error.held.map((each) => each.owner).sort()).toEqual(['pool/a', 'pool/c', 'pool/d']);
  await clock.advance(2_000);
  expect([busy, fourth, again]).toEqual([['c'], ['d'], ['a2']]);
});

test('a start that waits for memory gets it as soon as another model goes idle', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 10e6, clock });
  const { pool } = simulate(clock, { serviceMs: () => 1_000 }, { governor });
  const options = simulated({ costMb: 10, memoryWaitMs: 5_000 });
  const [a, b] = ['a', 'b'].map((key) => pool.register(key, options));
  const results = outcomes([a!.call('echo', 'a')]);
  await clock.advance(10);
  const second = outcomes([b!.call('echo', 'b')]);
  await clock.advance(989);
  expect([results, second]).toEqual([['pending'], ['pending']]);
  await clock.advance(1_001);
  expect([results, second]).toEqual([['a'], ['b']]);
  expect(governor.heldBytes).toBe(10e6);
});

test('maintenance never deadlocks with registration', async () => {
  const clock = new SimulatedClock();
  const { pool, governor } = simulate(clock, { loadMs: 5, serviceMs: () => 3 });
  const options = simulated({ costMb: 1, idleTimeoutMs: 7, maxWorkers: 3, scaleUpAfterMs: 2 });
  const work: Promise<unknown>[] = [];
  for (let turn = 0; turn < 200; turn += 1) {
    const key = `m${turn % 7}`;
    if (!pool.has(key)) {
      const model = pool.register(key, options);
      for (let each = 0; each < 5; each += 1) work.push(model.call('echo', each));
      work.push(pool.warm(key, 2).catch(() => {}));
    } else if (turn % 3 === 0) work.push(pool.evict(key));
    else work.push(pool.unregister(key));
    await clock.advance(turn % 11);
  }
  await clock.advance(10_000);
  const results = await Promise.allSettled(work);
  expect(results.filter((result) => result.status === 'rejected')).toEqual([]);
  await clock.advance(10_000);
  expect(governor.heldBytes).toBe(0);
});

test('pools that share a governor evict each other, even where names and keys are the same', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 10e6, clock });
  const [first, second] = [simulate(clock, {}, { governor }), simulate(clock, {}, { governor })];
  const [one, other] = [first, second].map(({ pool }) => pool.register('m', simulated({ costMb: 10 })));
  const results = outcomes([one!.call('echo', 1)]);
  await clock.advance(1);
  results.push(...(await settleAll(clock, [other!.call('echo', 2)])));
  expect(results).toEqual([1, 2]);
  expect(first.workers[0]?.state.current).toBe('dead');
});
