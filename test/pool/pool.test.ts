import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import {
  BreakerOpenError,
  closeOnSignal,
  createPool,
  MemoryExhaustedError,
  MemoryGovernor,
  PoolClosedError,
  type PoolEvent,
  PoolOverloadedError,
  UnknownModelError,
} from '../../src/pool/index.js';
import { DeadlineExceededError, operation, UnknownOperationError, WorkerCrashedError } from '../../src/worker/index.js';
import { outcomes } from '../support/outcomes.js';
import { simulate, simulated } from '../support/simulated-worker.js';

const count = (list: readonly unknown[], wanted: unknown) => list.filter((each) => each === wanted).length;

test('createPool() refuses unknown and wrong options before anything happens', () => {
  expect(() => createPool({ nmae: 'x' } as never)).toThrow("Cannot create pool: unknown option 'nmae'");
  expect(() => createPool({ clock: { now: () => 0 } as never })).toThrow('clock.setTimer must be a function');
  expect(() => createPool({ governor: {} as never })).toThrow(TypeError);
  const { pool, starts } = simulate(new SimulatedClock());
  expect(() => pool.register('m', simulated({ maxWorker: 3 } as never))).toThrow(
    "Cannot register model 'm': unknown option 'maxWorker'",
  );
  expect(() => pool.register('m', simulated({ maxWorkers: 0 }))).toThrow(
    "Cannot register model 'm': maxWorkers must be a positive integer, received 0",
  );
  expect(() => pool.register('m', simulated({ minWorkers: 3, maxWorkers: 2 }))).toThrow(RangeError);
  expect(() => pool.register('m', { operations: simulated().operations } as never)).toThrow(
    'either module or load must be given',
  );
  expect(() => pool.register('m', simulated({ coalesce: { ecoh: String } as never }))).toThrow("unknown option 'ecoh'");
  expect(() => pool.register('m', simulated({ shares: { normal: 0.6, batch: 0.6 } }))).toThrow(RangeError);
  expect(pool.keys).toEqual([]);
  expect(starts).toEqual([]);
});

test('Pool.register() refuses at once what its workers could not be started with', () => {
  const pool = createPool();
  const module = new URL('./fixtures/model.mjs', import.meta.url);
  const operations = { echo: operation<unknown, unknown>() };
  const register = (options: object) => () => pool.register('m', { operations, module, ...options } as never);
  for (const [options, message] of [
    [{ module: './model.js' }, 'module must be a URL'],
    [{ loadTimeoutMs: 'soon' }, 'loadTimeoutMs must be'],
    [{ stallTimeoutMs: -1 }, 'stallTimeoutMs must be'],
    [{ heapMb: 0.5 }, 'heapMb must be a positive integer'],
    [{ env: { A: 1 } }, 'env.A must be a string'],
    [{ cwd: '' }, 'cwd must be'],
    [{ execArgv: '--inspect' }, 'execArgv must be an array'],
    [{ stdio: 'pipe' }, 'stdio must be'],
    [{ transfer: { input: true } }, "unknown option 'input'"],
    [{ operations: { echo: { capacity: 1 } } }, 'operation'],
  ] as const) {
    expect(register(options), JSON.stringify(options)).toThrow(/^Cannot register model 'm': /);
    expect(register(options), JSON.stringify(options)).toThrow(message);
  }
  expect(pool.keys).toEqual([]);
});

test('Pool.register() refuses a key that is taken, and answers has() and keys', () => {
  const { pool } = simulate(new SimulatedClock());
  pool.register('m', simulated());
  expect(() => pool.register('m', simulated())).toThrow('key must be free');
  expect(pool.has('m')).toBe(true);
  expect(pool.has('n')).toBe(false);
  expect(pool.keys).toEqual(['m']);
});

test('Pool.call() rejects for an unknown model, operation or option', async () => {
  const { pool, starts } = simulate(new SimulatedClock());
  pool.register('m', simulated());
  await expect(pool.call('n', 'echo', 1)).rejects.toThrow(UnknownModelError);
  await expect(pool.call('m', 'ecoh', 1)).rejects.toThrow(UnknownOperationError);
  await expect(pool.call('m', 'echo', 1, { timeout: 5 } as never)).rejects.toThrow("unknown option 'timeout'");
  expect(starts).toEqual([]);
});

test('ModelHandle.call() starts one worker for all racing first calls', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadMs: 500, serviceMs: () => 10 });
  const model = pool.register('m', simulated({ concurrency: 4 }));
  const results = outcomes(Array.from({ length: 20 }, (_, index) => model.call('echo', index)));
  await clock.advance(499);
  expect(workers).toHaveLength(1);
  expect(workers[0]?.given).toEqual([]);
  await clock.advance(51);
  expect(results).toEqual(Array.from({ length: 20 }, (_, index) => index));
});

test('ModelHandle.call() waits for a cold start under its own deadline', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadMs: 500 });
  const model = pool.register('m', simulated());
  const results = outcomes([
    model.call('echo', 'short', { timeoutMs: 100 }),
    model.call('echo', 'long', { timeoutMs: 1_000 }),
  ]);
  await clock.advance(100);
  expect(results).toEqual(['ERR_DEADLINE_EXCEEDED', 'pending']);
  await clock.advance(400);
  expect(results).toEqual(['ERR_DEADLINE_EXCEEDED', 'long']);
  expect(workers[0]?.given).toEqual(['long']);
});

test('a failed load rejects all waiters at once with the cause, releases its memory once, and backs off before the next', async () => {
  const clock = new SimulatedClock();
  const cause = new Error('no such file');
  const { pool, workers, governor } = simulate(clock, {
    loadMs: 50,
    loadError: (index) => (index < 2 ? cause : undefined),
  });
  const model = pool.register('m', simulated({ costMb: 10, backOffMs: 1_000 }));
  const results = outcomes(Array.from({ length: 10 }, (_, index) => model.call('echo', index)));
  await clock.advance(0);
  expect(governor.heldBytes).toBe(10e6);
  await clock.advance(50);
  expect(results).toEqual(Array(10).fill(cause));
  expect(governor.heldBytes).toBe(0);
  expect(pool.health()).toMatchObject({ status: 'unhealthy' });
  // The back-off holds the next call, and refuses one that does not want to wait.
  await expect(model.tryCall('echo', 'x')).rejects.toMatchObject({
    code: 'ERR_POOL_OVERLOADED',
    retryAfterMs: 1_000,
    cause,
  });
  const next = outcomes([model.call('echo', 'again')]);
  await clock.advance(999);
  expect(workers).toHaveLength(1);
  await clock.advance(1);
  expect(workers).toHaveLength(2);
  await clock.advance(50);
  expect(next).toEqual([cause]);
  // Twice as long the second time.
  const last = outcomes([model.call('echo', 'third')]);
  await clock.advance(1_999);
  expect(workers).toHaveLength(2);
  await clock.advance(51);
  expect(last).toEqual(['third']);
  expect(pool.health().status).toBe('healthy');
  expect(pool.stats()).toMatchObject({ accepted: 12, failed: 11, succeeded: 1, refused: 1 });
});

test('a loading worker gets no request', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadMs: 500, serviceMs: () => 100 });
  const model = pool.register('m', simulated({ maxWorkers: 2, scaleUpAfterMs: 10 }));
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
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 10 });
  const model = pool.register('m', simulated({ concurrency: 3, maxWorkers: 2, minWorkers: 2 }));
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
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ maxWorkers: 1, queueLimit: 2 }));
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

test('a call that timed out or was aborted while it waited is never run', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ maxWorkers: 1 }));
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
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: (input) => (input === 'slow' ? 1_000 : 10) });
  const model = pool.register('m', simulated({ maxWorkers: 1 }));
  const results = outcomes([model.call('echo', 'slow', { timeoutMs: 100 }), model.call('echo', 'next')]);
  await clock.advance(500);
  expect(results).toEqual(['ERR_DEADLINE_EXCEEDED', 'pending']);
  expect(workers[0]?.given).toEqual(['slow']);
  await clock.advance(510);
  expect(results[1]).toBe('next');
});

test('an answer after the deadline is no success', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ coalesce: { echo: String } }));
  const results = outcomes([model.call('echo', 'x', { timeoutMs: 99 })]);
  await clock.advance(200);
  expect(results).toEqual(['ERR_DEADLINE_EXCEEDED']);
  expect(pool.stats()).toMatchObject({ succeeded: 0, expired: 1 });
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
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register(
    'm',
    simulated({ concurrency: 4, coalesce: { echo: (input: unknown) => (input as { key: string }).key } }),
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
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ maxWorkers: 1, coalesce: { echo: String } }));
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

test('scaling: another worker once all have been busy for long enough, up to maxWorkers, one at a time', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadMs: 200, serviceMs: () => 50 });
  const model = pool.register('m', simulated({ maxWorkers: 3, scaleUpAfterMs: 100 }));
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
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, {});
  const model = pool.register('m', simulated({ idleTimeoutMs: Number.POSITIVE_INFINITY }));
  const results = outcomes([model.call('echo', 1, { timeoutMs: 1_000 })]);
  await clock.advance(1);
  expect(results).toEqual([1]);
  // One timer for the deadlines of all requests may stay until the first of them has passed.
  await clock.advance(1_000);
  expect(clock.pendingTimers).toBe(0);
});

test('Pool.evict() evicts every idle worker and no busy one', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ minWorkers: 3, maxWorkers: 3 }));
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

test('a crashed worker is replaced, and an idempotent request is run again on another worker', async () => {
  const clock = new SimulatedClock();
  const { pool, workers, governor } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ minWorkers: 2, maxWorkers: 2, costMb: 1, routing: 'roundRobin' }));
  await clock.advance(1);
  const results = outcomes([model.call('echo', 'again'), model.call('once', 'lost')]);
  await clock.advance(50);
  workers[0]?.crash();
  await clock.advance(0);
  expect(results).toEqual(['pending', 'pending']);
  expect(workers).toHaveLength(3);
  workers[1]?.crash();
  await clock.advance(500);
  expect(results).toEqual(['again', 'ERR_WORKER_CRASHED']);
  await clock.advance(1_000);
  expect(workers.filter((worker) => worker.state.current === 'ready')).toHaveLength(2);
  expect(governor.heldBytes).toBe(2e6);
  expect(pool.stats()).toMatchObject({ accepted: 2, succeeded: 1, failed: 1, retried: 1 });
  expect(pool.stats().models.m).toMatchObject({ crashes: 2, workers: 2 });
});

test('a request that crashes its workers is run retries + 1 times', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ retries: 2, backOffMs: 10 }));
  const results = outcomes([model.call('echo', 'poison')]);
  for (let turn = 0; turn < 3; turn += 1) {
    await clock.advance(50);
    workers.at(-1)?.crash();
  }
  await clock.advance(1_000);
  expect(results).toEqual(['ERR_WORKER_CRASHED']);
  expect(workers.filter((worker) => worker.given.length > 0)).toHaveLength(3);
});

test('workers that die before their first answer, more often than the restart budget allows, are replaced every five seconds', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ minWorkers: 1, restartsPerMinute: 2, backOffMs: 10, retries: 0 }));
  for (let turn = 0; turn < 3; turn += 1) {
    await clock.advance(100);
    workers.at(-1)?.crash();
  }
  await clock.advance(100);
  expect(workers).toHaveLength(3);
  expect(pool.health().status).toBe('unhealthy');
  const results = outcomes([model.call('echo', 1, { timeoutMs: 1_000 })]);
  await clock.advance(1_000);
  expect(results).toEqual(['ERR_DEADLINE_EXCEEDED']);
  await clock.advance(5_000 - 100 - 1_000 - 1);
  expect(workers).toHaveLength(3);
  await clock.advance(1);
  expect(workers).toHaveLength(4);
  expect(pool.health().status).toBe('healthy');
});

class BadInput extends Error {
  readonly fault = 'caller';
}

test('1 % bad input over 10,000 calls does not open the breaker', async () => {
  const clock = new SimulatedClock();
  const answer = (input: unknown) => {
    if ((input as number) % 100 === 0) throw new BadInput('no image');
    return input;
  };
  const { pool } = simulate(clock, { answer });
  const model = pool.register('m', simulated({ concurrency: 64 }));
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

async function settleAll(clock: SimulatedClock, promises: Promise<unknown>[]) {
  const all = Promise.all(promises.map((promise) => promise.catch((error: unknown) => error)));
  await clock.advance(1);
  return await all;
}

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

test('refuseEarly turns a call away whose deadline cannot be met at the current rate', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ maxWorkers: 1, refuseEarly: true }));
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

test('Pool.close() loses none of 20 accepted calls, and refuses new ones', async () => {
  const clock = new SimulatedClock();
  const { pool, workers, governor } = simulate(clock, { loadMs: 100, serviceMs: () => 100 });
  const model = pool.register('m', simulated({ concurrency: 2, costMb: 5 }));
  const results = outcomes(Array.from({ length: 20 }, (_, index) => model.call('echo', index)));
  const closed = pool.close({ timeoutMs: 10_000 });
  await expect(model.call('echo', 'late')).rejects.toThrow(PoolClosedError);
  expect(() => pool.register('n', simulated())).toThrow(PoolClosedError);
  await clock.advance(5_000);
  await closed;
  expect(results).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect(workers.every((worker) => worker.state.current === 'dead')).toBe(true);
  expect(governor.heldBytes).toBe(0);
  expect(clock.pendingTimers).toBe(0);
});

test('Pool.close() answers what is left when its time is over', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 60_000 });
  const model = pool.register('m', simulated({ maxWorkers: 1 }));
  const results = outcomes(Array.from({ length: 5 }, (_, index) => model.call('echo', index)));
  await clock.advance(1);
  const closed = pool.close({ timeoutMs: 1_000 });
  await clock.advance(1_000);
  await closed;
  expect(results).toEqual(Array(5).fill('ERR_POOL_CLOSED'));
  expect(workers[0]?.state.current).toBe('dead');
});

test('Pool.drain() refuses what waits for room, finishes what was accepted, and keeps the workers', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated({ maxWorkers: 1, queueLimit: 1 }));
  const results = outcomes([1, 2, 3].map((index) => model.call('echo', index)));
  await clock.advance(1);
  let drained = false;
  void pool.drain().then(() => {
    drained = true;
  });
  await clock.advance(50);
  expect(results).toEqual(['pending', 'pending', 'ERR_POOL_CLOSED']);
  expect(drained).toBe(false);
  await clock.advance(200);
  expect(results).toEqual([1, 2, 'ERR_POOL_CLOSED']);
  expect(drained).toBe(true);
  expect(workers[0]?.state.current).toBe('ready');
});

test('Pool.drain() waits for what models that are being unregistered have accepted', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated());
  const results = outcomes([model.call('echo', 1)]);
  await clock.advance(1);
  void pool.unregister('m');
  let drained = false;
  void pool.drain().then(() => {
    drained = true;
  });
  await clock.advance(50);
  expect([results, drained]).toEqual([['pending'], false]);
  await clock.advance(50);
  expect([results, drained]).toEqual([[1], true]);
});

test('closeOnSignal() refuses what it can not close and signals that there are not', async () => {
  const { pool } = simulate(new SimulatedClock());
  const listeners = process.listenerCount('SIGTERM');
  expect(() => closeOnSignal({} as never)).toThrow('pool.close must be a function');
  expect(() => closeOnSignal([pool, undefined as never])).toThrow(TypeError);
  expect(() => closeOnSignal(pool, { signals: ['SIGTERM', 'SIGTREM' as never] })).toThrow(
    /^Cannot close on signal: signals/,
  );
  expect(() => closeOnSignal(pool, { signals: [] })).toThrow(TypeError);
  expect(() => closeOnSignal(pool, { signal: 'SIGTERM' } as never)).toThrow("unknown option 'signal'");
  expect(process.listenerCount('SIGTERM')).toBe(listeners);
  await pool.close();
});

test('Pool.destroy() answers everything now, with the reason as the cause', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 60_000 });
  const model = pool.register('m', simulated({ maxWorkers: 1 }));
  const calls = [1, 2, 3].map((index) => model.call('echo', index).catch((error: unknown) => error));
  await clock.advance(1);
  const reason = new Error('enough');
  await pool.destroy(reason);
  for (const error of await Promise.all(calls)) {
    expect(error).toBeInstanceOf(PoolClosedError);
    expect((error as Error).cause).toBe(reason);
  }
  expect(pool.stats()).toMatchObject({ accepted: 3, failed: 3, pending: 0 });
});

test('Pool[Symbol.asyncDispose]() closes', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock);
  {
    await using scoped = pool;
    const model = scoped.register('m', simulated());
    const result = model.call('echo', 1);
    await clock.advance(1);
    await result;
  }
  expect(workers[0]?.state.current).toBe('dead');
});

test('Pool.unregister() finishes accepted calls and frees the key', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 100 });
  const model = pool.register('m', simulated());
  const results = outcomes([model.call('echo', 1)]);
  const unregistered = pool.unregister('m');
  expect(pool.has('m')).toBe(false);
  await expect(model.call('echo', 2)).rejects.toThrow(PoolClosedError);
  pool.register('m', simulated());
  await clock.advance(200);
  expect(await unregistered).toBe(true);
  expect(results).toEqual([1]);
  expect(await pool.unregister('n')).toBe(false);
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

test('request counters count, per model and operation', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock);
  const model = pool.register('m', simulated({ concurrency: 8 }));
  const other = pool.register('n', simulated());
  await settleAll(clock, [model.call('echo', 1), model.call('echo', 2), model.call('once', 3), other.call('once', 4)]);
  const stats = pool.stats();
  expect(stats).toMatchObject({ accepted: 4, succeeded: 4 });
  expect(stats.models.m?.operations).toMatchObject({ echo: { accepted: 2, succeeded: 2 }, once: { accepted: 1 } });
  expect(stats.models.n?.operations).toMatchObject({ echo: { accepted: 0 }, once: { succeeded: 1 } });
});

test('ModelHandle.callDetailed() says which worker answered and how long it took', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { loadMs: 30, serviceMs: () => 12 });
  const model = pool.register('m', simulated());
  const answer = model.callDetailed('echo', 'x');
  await clock.advance(100);
  expect(await answer).toEqual({
    value: 'x',
    info: { worker: 'w0', queuedMs: 30, serviceMs: 12, attempts: 1, coalesced: false },
  });
});

test('Pool.events() tells of the model before its workers, and loses the oldest for a reader that is slow', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, {});
  const events = pool.events();
  pool.register('m', simulated({ minWorkers: 1 }));
  await clock.advance(1);
  expect(await events.next()).toMatchObject({ value: { type: 'register', model: 'm' } });
  for (let turn = 0; turn < 1_100; turn += 1) pool.register(`m${turn}`, simulated());
  await pool.destroy();
  const rest: PoolEvent[] = [];
  for await (const event of events) rest.push(event);
  expect(rest).toHaveLength(1_024);
  expect(rest.at(-1)).toMatchObject({ type: 'end' });
});

test('inspecting a pool, or a refused call, shows no payload', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 60_000 });
  const model = pool.register('m', simulated({ maxWorkers: 1, queueLimit: 1 }));
  outcomes([model.call('echo', 'SECRET'), model.call('echo', 'SECRET')]);
  await clock.advance(1);
  const refused = await model.tryCall('echo', 'SECRET').catch((error: unknown) => error);
  expect(inspect(pool, { depth: 20, showHidden: true })).toBe(
    "Pool { name: 'pool', state: 'open', models: [m], queued: 1, running: 1 }",
  );
  expect(inspect(model, { depth: 20, showHidden: true })).not.toContain('SECRET');
  expect(inspect(refused, { depth: 20, showHidden: true })).not.toContain('SECRET');
});

test('errors of the pool are what they say they are', () => {
  expect(new PoolOverloadedError('x', 5)).toMatchObject({
    code: 'ERR_POOL_OVERLOADED',
    fault: 'system',
    name: 'PoolOverloadedError',
  });
  expect(new UnknownModelError('x')).toMatchObject({ code: 'ERR_MODEL_UNKNOWN', fault: 'caller' });
  expect(new DeadlineExceededError('x', 5).code).toBe('ERR_DEADLINE_EXCEEDED');
  expect(new WorkerCrashedError('x').fault).toBe('model');
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

test('a worker that ends by itself after its work is replaced without counting as a crash', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 10 });
  const model = pool.register('m', simulated({ maxWorkers: 1, restartsPerMinute: 1 }));
  for (let turn = 0; turn < 5; turn += 1) {
    const results = outcomes([model.call('echo', turn)]);
    await clock.advance(10);
    expect(results).toEqual([turn]);
    const next = outcomes([model.call('echo', 'again')]);
    await clock.advance(5);
    workers.at(-1)?.retire();
    await clock.advance(10);
    expect(next).toEqual(['again']);
  }
  expect(workers).toHaveLength(6);
  expect(pool.stats().models.m).toMatchObject({ crashes: 0, workers: 1 });
  // One that ends before it has done anything is no different from one that crashes.
  workers.at(-1)?.crash();
  await clock.advance(1);
  expect(pool.stats().models.m).toMatchObject({ crashes: 1 });
});

test('a call that ran out of time while it waited for room is refused, never accepted', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 1_000 });
  const model = pool.register('m', simulated({ maxWorkers: 1 }));
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
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { loadMs: 1_000 });
  const model = pool.register('m', simulated());
  const controller = new AbortController();
  const results = outcomes(
    Array.from({ length: 50 }, () => model.call('echo', 1, { signal: controller.signal, timeoutMs: 100 })),
  );
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  await clock.advance(100);
  expect(results).toEqual(Array(50).fill('ERR_DEADLINE_EXCEEDED'));
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
});

test('Pool.warm() says that the pool is closing when it is closed meanwhile', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { loadMs: 1_000 });
  pool.register('m', simulated());
  const warm = outcomes([pool.warm('m')]);
  await clock.advance(1);
  void pool.destroy();
  await clock.advance(1);
  expect(warm).toEqual(['ERR_POOL_CLOSED']);
});
