/** A pool with `minWorkers: 1, maxWorkers: 1` is a supervised actor: it comes back after its process is killed, with its queue. */
import { expect, test, vi } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createPool, type Pool, type PoolEvent } from '../../src/pool/index.js';
import { operation } from '../../src/worker/index.js';
import { codeOf, outcomes } from '../support/outcomes.js';
import { simulate, simulated } from '../support/simulated-worker.js';

// On a machine that has other things to do, a process takes seconds to start.
vi.setConfig({ testTimeout: 90_000 });

const operations = {
  pid: operation<undefined, number>({ idempotent: true }),
  echo: operation<unknown, unknown>({ idempotent: true, capacity: 64 }),
  wait: operation<number, number>(),
  block: operation<number, number>({ idempotent: true }),
};
const actor = { minWorkers: 1, maxWorkers: 1 } as const;
const start = (pool: Pool) =>
  pool.register('actor', { operations, module: new URL('./fixtures/model.mjs', import.meta.url), ...actor });
const statesOf = (pool: Pool) => pool.health().models.actor?.workers;

function recorded(pool: Pool): PoolEvent[] {
  const events: PoolEvent[] = [];
  void (async () => {
    for await (const event of pool.events()) events.push(event);
  })();
  return events;
}

test('a killed actor comes back with its queue: what it was at fails or runs again, what waits is answered', async () => {
  await using pool = createPool();
  const events = recorded(pool);
  const model = start(pool);
  const pid = await model.call('pid', undefined);
  const held = model.call('wait', 60_000).catch(codeOf);
  const queued = Array.from({ length: 8 }, (_, n) => model.call('echo', n));
  await vi.waitFor(() => expect(statesOf(pool)).toEqual({ processing: 1 }));
  expect(pool.stats().models.actor).toMatchObject({ inFlight: 1, queued: 8 });
  process.kill(pid, 'SIGKILL');
  expect(await held).toBe('ERR_WORKER_CRASHED');
  expect(await Promise.all(queued)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(await model.call('pid', undefined)).not.toBe(pid);
  const types = events.map((event) => event.type).filter((type) => type !== 'register');
  expect(types).toEqual(['start', 'ready', 'end', 'crash', 'start', 'ready']);
  expect(pool.stats().models.actor).toMatchObject({ starts: 2, restarts: 1, crashes: 1, failed: 1, succeeded: 10 });
  expect(statesOf(pool)).toEqual({ ready: 1 });
});

test('an actor that is killed at an idempotent call runs it again in its next life', async () => {
  await using pool = createPool();
  const model = start(pool);
  const pid = await model.call('pid', undefined);
  const held = model.call('block', 300);
  await vi.waitFor(() => expect(pool.stats().models.actor).toMatchObject({ inFlight: 1 }));
  process.kill(pid, 'SIGKILL');
  expect(await held).toBe(300);
  expect(pool.stats().models.actor).toMatchObject({ crashes: 1, retried: 1, failed: 0 });
});

test('an actor that is killed while it has nothing to do comes back by itself', async () => {
  await using pool = createPool();
  const model = start(pool);
  const pid = await model.call('pid', undefined);
  process.kill(pid, 'SIGKILL');
  await vi.waitFor(() => expect(pool.stats().models.actor).toMatchObject({ starts: 2 }), { timeout: 20_000 });
  await vi.waitFor(() => expect(statesOf(pool)).toEqual({ ready: 1 }), { timeout: 20_000 });
  expect(await model.call('pid', undefined)).not.toBe(pid);
});

test('an actor whose load fails is started again after pauses that double, and answers once one succeeds', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadError: (index) => (index < 3 ? new Error('not yet') : undefined) });
  const events = recorded(pool);
  const model = pool.register('actor', simulated({ ...actor, backOffMs: 100, breaker: false }));
  // What waits as a load fails is told so; what comes in the pause before the next waits for that.
  const told = outcomes([model.call('echo', 'told')]);
  await clock.advance(350);
  const kept = outcomes([model.call('echo', 'kept')]);
  await clock.advance(10_000);
  expect([told, kept]).toEqual([[new Error('not yet')], ['kept']]);
  expect(workers).toHaveLength(4);
  expect(events.filter((event) => event.type === 'load-failure').map(({ backOffMs }) => backOffMs)).toEqual([
    100, 200, 400,
  ]);
  await pool.close();
});

test('an actor that dies as it starts is replaced as often as the budget says, then every five seconds', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadMs: 10, serviceMs: () => 5 });
  const model = pool.register('actor', simulated({ ...actor, restartsPerMinute: 2 }));
  for (let life = 1; life <= 3; life += 1) {
    await clock.advance(10);
    expect(workers).toHaveLength(life);
    workers.at(-1)?.crash();
    await clock.advance(0);
  }
  await clock.advance(4_989);
  expect(workers).toHaveLength(3);
  const results = outcomes([model.call('echo', 'waited')]);
  await clock.advance(100);
  expect(workers).toHaveLength(4);
  expect(results).toEqual(['waited']);
  expect(pool.stats().models.actor).toMatchObject({ crashes: 3, restarts: 3, starts: 4 });
  await pool.close();
});
