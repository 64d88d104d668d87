/** What a pool does with its workers where several things happen at once; the workers are simulated. */
import { expect, test, vi } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { MemoryGovernor } from '../../../src/pool/index.js';
import { WorkerCrashedError, WorkerLoadError } from '../../../src/worker/index.js';
import { codeOf, outcomes } from '../../support/outcomes.js';
import { simulate, simulated, simulateModel } from '../../support/simulated-worker.js';

test('Pool.close() gives up what waits for memory: nobody is evicted for it, and nobody waits behind it', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 100_000_000, clock });
  const held = governor.tryAcquire('somebody else', 60_000_000);
  const closing = simulate(clock, {}, { governor, name: 'closing' }).pool;
  closing.register('large', simulated({ costMb: 80 }));
  const refused = closing.call('large', 'echo', 1) as Promise<unknown>;
  const outcome = refused.catch((error: unknown) => error);
  await clock.advance(1);
  expect(governor.waiting).toBe(1);
  const other = governor.acquire('another', 40_000_000, 1_000);
  await closing.destroy();
  expect(await outcome).toMatchObject({ code: 'ERR_POOL_CLOSED' });
  expect((await other).bytes).toBe(40_000_000);
  expect(governor.waiting).toBe(0);
  held?.[Symbol.dispose]();
});

test('a worker that is closed while it loads holds its memory until it is gone', async () => {
  const clock = new SimulatedClock();
  const { pool, workers, governor } = simulate(clock, { loadMs: 1_000 });
  pool.register('m', simulated({ minWorkers: 1, costMb: 10 }));
  await clock.advance(1);
  let end = (): void => {};
  const worker = workers[0] as NonNullable<(typeof workers)[0]>;
  const close = worker.close.bind(worker);
  worker.close = async () => {
    await close();
    await new Promise<void>((resolve) => {
      end = resolve;
    });
  };
  const closed = pool.close();
  await clock.advance(1);
  expect(governor.heldBytes).toBe(10_000_000);
  end();
  await closed;
  expect(governor.heldBytes).toBe(0);
});

test('an idle worker is evicted in time though a later timer runs already', async () => {
  const behaviour = { serviceMs: () => 10, loadError: (index: number) => (index === 1 ? new Error('no') : undefined) };
  const { clock, pool, model } = simulateModel(behaviour, {
    maxWorkers: 2,
    idleTimeoutMs: 100,
    scaleUpAfterMs: 5,
    backOffMs: 60_000,
  });
  // The second is wanted, fails, and may be tried again in a minute.
  const calls = Promise.all(Array.from({ length: 4 }, (_, n) => model.call('echo', n)));
  await clock.advance(50);
  await calls;
  expect(pool.stats().models.m).toMatchObject({ workers: 1, loadFailures: 1 });
  await clock.advance(200);
  expect(pool.stats().models.m).toMatchObject({ workers: 0, evictions: 1 });
  await pool.close();
});

test('a routing strategy that throws, or answers no candidate, loses no request', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  try {
    const clock = new SimulatedClock();
    const { pool } = simulate(clock, { serviceMs: () => 10 });
    const strategies = [
      () => {
        throw new Error('out of order');
      },
      () => ({ id: 'nobody', pending: 0, window: 1 }),
    ];
    for (const [index, routing] of strategies.entries()) {
      const model = pool.register(`m${index}`, simulated({ minWorkers: 2, maxWorkers: 2, routing }));
      await clock.advance(1);
      const answers = Promise.all([1, 2, 3, 4].map((n) => model.call('echo', n)));
      await clock.advance(100);
      expect(await answers).toEqual([1, 2, 3, 4]);
    }
    expect(warned).toHaveBeenCalledTimes(2);
    await pool.close();
  } finally {
    warned.mockRestore();
  }
});

test('Pool.health() is degraded while calls wait for room, and healthy again once they do not', async () => {
  const { clock, pool, model } = simulateModel({ serviceMs: () => 10 }, { maxWorkers: 1, queueLimit: 1 });
  const answers = Promise.all([1, 2, 3].map((n) => model.call('echo', n)));
  await clock.advance(1);
  expect(pool.health()).toMatchObject({ status: 'degraded', models: { m: { queued: 1, waiting: 1, inFlight: 1 } } });
  await clock.advance(100);
  await answers;
  expect(pool.health()).toMatchObject({ status: 'healthy', models: { m: { queued: 0, waiting: 0 } } });
  await pool.close();
});

test('a model that fails with the crash of a worker of its own has not crashed, and is not replaced', async () => {
  const { clock, pool, model } = simulateModel(
    {
      answer: () => {
        throw new WorkerCrashedError('a worker that the model has for itself');
      },
    },
    { maxWorkers: 1 },
  );
  const failed = model.call('echo', 1).catch((error: unknown) => error);
  await clock.advance(10);
  expect(await failed).toBeInstanceOf(WorkerCrashedError);
  expect(pool.stats().models.m).toMatchObject({ failed: 1, retried: 0, crashes: 0, starts: 1, workers: 1 });
  await pool.close();
});

test('a worker that is killed while it loads is replaced, and its callers wait for its replacement', async () => {
  const { clock, pool, workers, model } = simulateModel({ loadMs: 1_000 }, { maxWorkers: 1, timeoutMs: 30_000 });
  const answer = model.call('echo', 1);
  // Five are replaced at once, the next after five seconds.
  for (let kill = 1; kill <= 6; kill += 1) {
    await clock.advance(500);
    workers.at(-1)?.crash();
    await clock.advance(0);
    expect(workers).toHaveLength(kill === 6 ? 6 : kill + 1);
  }
  await clock.advance(4_999);
  expect(workers).toHaveLength(6);
  await clock.advance(1 + 1_000);
  expect(await answer).toBe(1);
  expect(pool.stats().models.m).toMatchObject({ crashes: 6, loadFailures: 0, breakerRejections: 0 });
  expect(pool.health()).toMatchObject({ status: 'healthy', models: { m: { breaker: 'closed' } } });
  await pool.close();
});

test('a model none of whose workers has ever lived to be ready fails its callers after a while, once the restart budget is spent', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 1_000 },
    { maxWorkers: 1, restartsPerMinute: 2, timeoutMs: 60_000 },
  );
  let outcome: unknown = 'pending';
  model.call('echo', 1).catch((error: unknown) => {
    outcome = codeOf(error);
  });
  // Three in a row, then one every five seconds.
  for (let kill = 0; kill < 3; kill += 1) {
    await clock.advance(500);
    workers.at(-1)?.crash();
  }
  for (let kill = 0; kill < 3; kill += 1) {
    await clock.advance(5_500);
    workers.at(-1)?.crash();
    await clock.advance(0);
    expect(outcome).toBe('pending');
  }
  await clock.advance(5_500);
  workers.at(-1)?.crash();
  await clock.advance(0);
  expect(outcome).toBe('ERR_WORKER_LOAD');
  expect(workers).toHaveLength(7);
  expect(pool.health().status).toBe('unhealthy');
  // Whoever calls now waits for the next, at most five seconds away.
  const later = model.call('echo', 2);
  await clock.advance(6_000);
  expect(await later).toBe(2);
  await pool.close();
});

test('a model whose workers end by a fault of their own while they load fails its callers as soon as the budget is spent', async () => {
  const fault = (index: number) =>
    new WorkerLoadError('it faulted', { cause: new WorkerCrashedError(`${index}`, { signal: 'SIGILL' }) });
  const { clock, pool, workers, model } = simulateModel({ loadMs: 100, loadError: fault }, { maxWorkers: 1 });
  const outcome = model.call('echo', 1).catch(codeOf);
  await clock.advance(600);
  expect(await outcome).toBe('ERR_WORKER_LOAD');
  expect(workers).toHaveLength(6);
  await pool.close();
});

test('a model that was ready before refuses nobody, however many of its workers are killed while they load', async () => {
  const { clock, pool, workers, model } = simulateModel({ loadMs: 1_000 }, { maxWorkers: 1, timeoutMs: 600_000 });
  const first = model.call('echo', 0);
  await clock.advance(1_000);
  expect(await first).toBe(0);
  workers.at(-1)?.crash();
  const waiting = model.call('echo', 1);
  for (let kill = 0; kill < 12; kill += 1) {
    await clock.advance(5_000);
    expect(workers.at(-1)?.state.current).not.toBe('dead');
    if (workers.at(-1)?.state.current === 'loading') workers.at(-1)?.crash();
    else break;
  }
  await clock.advance(6_000);
  expect(await waiting).toBe(1);
  expect(pool.stats().models.m).toMatchObject({ failed: 0, expired: 0, refused: 0 });
  await pool.close();
});

test('workers that are killed after an answer are replaced at once, however many there were', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 100, serviceMs: () => 10 },
    { minWorkers: 1, maxWorkers: 1 },
  );
  for (let kill = 0; kill < 30; kill += 1) {
    const answer = model.call('echo', kill);
    await clock.advance(110);
    expect(await answer).toBe(kill);
    workers.at(-1)?.crash();
    await clock.advance(0);
    expect(workers).toHaveLength(kill + 2);
  }
  expect(pool.stats().models.m).toMatchObject({ crashes: 30, failed: 0 });
  await pool.close();
});

test('a budget that is spent is renewed by the pause as long as others prove that starts go well, and else is not', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 1_000 },
    { minWorkers: 2, maxWorkers: 2, restartsPerMinute: 2 },
  );
  await clock.advance(1_000);
  const killTheYoung = async () => {
    let kills = 0;
    while (workers.at(-1)?.state.current !== 'dead') {
      workers.at(-1)?.crash();
      kills += 1;
      await clock.advance(100);
    }
    return kills;
  };
  // The first is the only one to be asked.
  const answer = model.call('echo', 1);
  await clock.advance(10);
  await answer;
  const [proved] = workers.filter(({ given }) => given.length > 0);
  if (workers.at(-1) === proved) workers[0]?.crash();
  else workers.at(-1)?.crash();
  await clock.advance(100);
  const before = await killTheYoung();
  expect(before).toBeLessThanOrEqual(3);
  await clock.advance(5_000);
  expect(await killTheYoung()).toBe(3);
  // A minute after the last proof there is one every five seconds.
  await clock.advance(60_000);
  workers.at(-1)?.crash();
  await clock.advance(1_000);
  for (let turn = 0; turn < 3; turn += 1) await killTheYoung();
  await clock.advance(5_000);
  expect(await killTheYoung()).toBe(1);
  await clock.advance(5_000);
  expect(await killTheYoung()).toBe(1);
  expect(pool.stats().models.m?.workers).toBe(1);
  await pool.close();
});

test('a first answer ends the back-off of workers that died young', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 1_000, serviceMs: () => 10 },
    { minWorkers: 3, maxWorkers: 3, restartsPerMinute: 1 },
  );
  await clock.advance(900);
  workers[0]?.crash();
  workers[1]?.crash();
  await clock.advance(100);
  // One is back at once, the other would be in five seconds.
  expect(pool.stats().models.m?.workers).toBe(2);
  const answer = model.call('echo', 1);
  await clock.advance(10);
  expect(await answer).toBe(1);
  expect(pool.stats().models.m?.workers).toBe(3);
  await pool.close();
});

test('workers beyond the least are replaced together while there is work for them', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 100, serviceMs: () => 50 },
    { maxWorkers: 3, scaleUpAfterMs: 10, concurrency: 2 },
  );
  const all = Promise.all(Array.from({ length: 100 }, (_, n) => model.call('echo', n)));
  await clock.advance(400);
  expect(workers).toHaveLength(3);
  for (const worker of [...workers]) worker.crash();
  await clock.advance(0);
  expect(workers).toHaveLength(6);
  await clock.advance(10_000);
  expect(await all).toHaveLength(100);
  await pool.close();
});

test('Pool.warm() outlives workers that are killed while they load', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadMs: 1_000 });
  pool.register('m', simulated({ maxWorkers: 2 }));
  const warm = pool.warm('m', 2);
  await clock.advance(500);
  workers[0]?.crash();
  await clock.advance(1_000);
  workers.at(-1)?.crash();
  await clock.advance(10_000);
  await warm;
  expect(pool.stats().models.m).toMatchObject({ workers: 2, crashes: 2 });
  await pool.close();
});

test('ModelHandle.call() starts one worker for all racing first calls', async () => {
  const { clock, workers, model } = simulateModel({ loadMs: 500, serviceMs: () => 10 }, { concurrency: 4 });
  const results = outcomes(Array.from({ length: 20 }, (_, index) => model.call('echo', index)));
  await clock.advance(499);
  expect(workers).toHaveLength(1);
  expect(workers[0]?.given).toEqual([]);
  await clock.advance(51);
  expect(results).toEqual(Array.from({ length: 20 }, (_, index) => index));
});

test('ModelHandle.call() waits for a cold start under its own deadline', async () => {
  const { clock, workers, model } = simulateModel({ loadMs: 500 });
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
  const cause = new Error('no such file');
  const { clock, pool, workers, governor, model } = simulateModel(
    {
      loadMs: 50,
      loadError: (index) => (index < 2 ? cause : undefined),
    },
    { costMb: 10, backOffMs: 1_000 },
  );
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

test('a crashed worker is replaced, and an idempotent request is run again on another worker', async () => {
  const { clock, pool, workers, governor, model } = simulateModel(
    { serviceMs: () => 100 },
    { minWorkers: 2, maxWorkers: 2, costMb: 1, routing: 'roundRobin' },
  );
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
  const { clock, workers, model } = simulateModel({ serviceMs: () => 100 }, { retries: 2, backOffMs: 10 });
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
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs: () => 100 },
    { minWorkers: 1, restartsPerMinute: 2, backOffMs: 10, retries: 0 },
  );
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

test('a worker that ends by itself after its work is replaced without counting as a crash', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs: () => 10 },
    { maxWorkers: 1, restartsPerMinute: 1 },
  );
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
