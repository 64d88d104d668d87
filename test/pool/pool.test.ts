import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import {
  closeOnSignal,
  createPool,
  PoolClosedError,
  type PoolEvent,
  PoolOverloadedError,
  UnknownModelError,
} from '../../src/pool/index.js';
import { DeadlineExceededError, operation, WorkerCrashedError } from '../../src/worker/index.js';
import { outcomes } from '../support/outcomes.js';
import { simulate, simulated, simulateModel } from '../support/simulated-worker.js';

async function settleAll(clock: SimulatedClock, promises: Promise<unknown>[]) {
  const all = Promise.all(promises.map((promise) => promise.catch((error: unknown) => error)));
  await clock.advance(1);
  return await all;
}

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

test('Pool.close() loses none of 20 accepted calls, and refuses new ones', async () => {
  const { clock, pool, workers, governor, model } = simulateModel(
    { loadMs: 100, serviceMs: () => 100 },
    { concurrency: 2, costMb: 5 },
  );
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
  const { clock, pool, workers, model } = simulateModel({ serviceMs: () => 60_000 }, { maxWorkers: 1 });
  const results = outcomes(Array.from({ length: 5 }, (_, index) => model.call('echo', index)));
  await clock.advance(1);
  const closed = pool.close({ timeoutMs: 1_000 });
  await clock.advance(1_000);
  await closed;
  expect(results).toEqual(Array(5).fill('ERR_POOL_CLOSED'));
  expect(workers[0]?.state.current).toBe('dead');
});

test('Pool.drain() refuses what waits for room, finishes what was accepted, and keeps the workers', async () => {
  const { clock, pool, workers, model } = simulateModel({ serviceMs: () => 100 }, { maxWorkers: 1, queueLimit: 1 });
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
  const { clock, pool, model } = simulateModel({ serviceMs: () => 100 });
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
  const { clock, pool, model } = simulateModel({ serviceMs: () => 60_000 }, { maxWorkers: 1 });
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
  const { clock, pool, model } = simulateModel({ serviceMs: () => 100 });
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

test('request counters count, per model and operation', async () => {
  const { clock, pool, model } = simulateModel({}, { concurrency: 8 });
  const other = pool.register('n', simulated());
  await settleAll(clock, [model.call('echo', 1), model.call('echo', 2), model.call('once', 3), other.call('once', 4)]);
  const stats = pool.stats();
  expect(stats).toMatchObject({ accepted: 4, succeeded: 4 });
  expect(stats.models.m?.operations).toMatchObject({ echo: { accepted: 2, succeeded: 2 }, once: { accepted: 1 } });
  expect(stats.models.n?.operations).toMatchObject({ echo: { accepted: 0 }, once: { succeeded: 1 } });
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
  const { clock, pool, model } = simulateModel({ serviceMs: () => 60_000 }, { maxWorkers: 1, queueLimit: 1 });
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
