/** What becomes of the requests of workers that crash; the workers are simulated. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/channels/index.js';
import { codeOf } from '../../support/outcomes.js';
import {
  type Behaviour,
  type SimulatedWorker,
  simulate,
  simulated,
  simulateModel,
} from '../../support/simulated-worker.js';

const outcomeOf = (call: Promise<unknown>) => call.then((value) => value, codeOf);

/** The requests that were alone in a worker that crashed, once for each. */
function convictions(workers: readonly SimulatedWorker[]): unknown[] {
  return workers.flatMap(({ lost }) => (lost?.length === 1 ? lost : []));
}

test.for([1, 2, 3])('one request of 60 that ends its workers fails alone, with %i workers', async (count) => {
  const behaviour: Behaviour = { loadMs: 300, serviceMs: () => 20, crashes: (input) => input === 31 };
  const { clock, pool, workers, model } = simulateModel(behaviour, {
    minWorkers: count,
    maxWorkers: count,
    concurrency: 24,
    timeoutMs: 30_000,
  });
  const all = Promise.all(Array.from({ length: 60 }, (_, n) => outcomeOf(model.call('echo', n))));
  await clock.advance(20_000);
  expect(await all).toEqual(Array.from({ length: 60 }, (_, n) => (n === 31 ? 'ERR_WORKER_CRASHED' : n)));
  expect(convictions(workers)).toEqual([31, 31]);
  expect(pool.stats().models.m).toMatchObject({ crashes: 3, succeeded: 59, failed: 1, pending: 0 });
  expect(pool.health()).toMatchObject({ status: 'healthy', models: { m: { breaker: 'closed' } } });
  await pool.close();
});

test('several requests that end their workers fail, each for itself, and nobody else does', async () => {
  const guilty = new Set([3, 4, 40]);
  const behaviour: Behaviour = {
    loadMs: 300,
    serviceMs: (input) => 10 + (input as number),
    crashes: (input) => guilty.has(input as number),
  };
  const { clock, pool, workers, model } = simulateModel(behaviour, {
    minWorkers: 2,
    maxWorkers: 2,
    concurrency: 24,
    breaker: false,
  });
  const all = Promise.all(Array.from({ length: 60 }, (_, n) => outcomeOf(model.call('echo', n))));
  await clock.advance(60_000);
  expect(await all).toEqual(Array.from({ length: 60 }, (_, n) => (guilty.has(n) ? 'ERR_WORKER_CRASHED' : n)));
  expect(convictions(workers).sort()).toEqual([3, 3, 4, 4, 40, 40]);
  await pool.close();
});

test('a request that was lost in company keeps all of its retries', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs: () => 100 },
    { maxWorkers: 1, concurrency: 2, retries: 1 },
  );
  const both = Promise.all(['a', 'b'].map((input) => outcomeOf(model.call('echo', input))));
  await clock.advance(50);
  workers.at(-1)?.crash();
  // The first of them, alone now.
  await clock.advance(50);
  workers.at(-1)?.crash();
  await clock.advance(2_000);
  expect(await both).toEqual(['a', 'b']);
  expect(workers.map(({ lost }) => lost)).toEqual([['a', 'b'], ['a'], undefined]);
  await pool.close();
});

test('a request that may not be repeated is rejected at once, while those beside it run again', async () => {
  const { clock, pool, workers, model } = simulateModel({ serviceMs: () => 100 }, { maxWorkers: 1, concurrency: 3 });
  const results: unknown[] = [];
  for (const [operation, input] of [
    ['echo', 1],
    ['once', 2],
    ['echo', 3],
  ] as const) {
    void outcomeOf(model.call(operation, input)).then((outcome) => results.push(outcome));
  }
  await clock.advance(50);
  workers[0]?.crash();
  await clock.advance(0);
  expect(results).toEqual(['ERR_WORKER_CRASHED']);
  await clock.advance(1_000);
  expect(results).toEqual(['ERR_WORKER_CRASHED', 1, 3]);
  await pool.close();
});

test('while suspects run alone, the other workers go on serving', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 500, serviceMs: () => 100 },
    { minWorkers: 2, maxWorkers: 2, concurrency: 4, routing: 'leastLoaded', timeoutMs: 30_000 },
  );
  await clock.advance(500);
  const answers: { input: unknown; at: number }[] = [];
  const started = clock.now();
  for (let n = 0; n < 40; n += 1) {
    void model.call('echo', n).then((input) => answers.push({ input, at: clock.now() - started }));
  }
  await clock.advance(50);
  workers[0]?.crash();
  await clock.advance(550);
  // Its replacement takes half a second to load; meanwhile the other has served as ever, save that it was emptied once for a suspect.
  expect(answers.length).toBeGreaterThanOrEqual(8);
  await clock.advance(10_000);
  expect(answers).toHaveLength(40);
  await pool.close();
});

test('a crash is one failure for the breaker, however many requests it took along', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { serviceMs: () => 100 });
  const breaker = { failures: 3, windowMs: 60_000, openMs: 60_000, probes: 1 };
  const model = pool.register('m', simulated({ minWorkers: 1, maxWorkers: 1, concurrency: 16, breaker }));
  const lose = async () => {
    const calls = Promise.all(Array.from({ length: 16 }, (_, n) => outcomeOf(model.call('once', n))));
    await clock.advance(50);
    workers.at(-1)?.crash();
    await clock.advance(2_000);
    return calls;
  };
  for (let turn = 0; turn < 2; turn += 1) {
    expect(new Set(await lose())).toEqual(new Set(['ERR_WORKER_CRASHED']));
    expect(pool.health().models.m?.breaker).toBe('closed');
  }
  await pool.close();
});

test('a worker that dies with nothing to do is no failure for the breaker', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, {});
  const breaker = { failures: 1, windowMs: 60_000, openMs: 60_000, probes: 1 };
  pool.register('m', simulated({ minWorkers: 1, maxWorkers: 1, breaker }));
  await clock.advance(10);
  workers[0]?.crash();
  await clock.advance(10);
  expect(pool.health().models.m?.breaker).toBe('closed');
  expect(pool.stats().models.m).toMatchObject({ crashes: 1, workers: 1 });
  await pool.close();
});

test('a suspect whose caller leaves while it waits leaves no worker kept free for it', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { loadMs: 10_000, serviceMs: () => 100 },
    { minWorkers: 2, maxWorkers: 2, concurrency: 4, routing: 'roundRobin' },
  );
  await clock.advance(10_000);
  const leaving = new AbortController();
  const calls = Array.from({ length: 8 }, (_, n) =>
    outcomeOf(model.call('echo', n, n % 2 === 0 ? { signal: leaving.signal } : {})),
  );
  const later = Array.from({ length: 8 }, (_, n) => outcomeOf(model.call('echo', 100 + n)));
  await clock.advance(50);
  const [victim] = workers as [SimulatedWorker];
  const held = victim.given as number[];
  expect(held.every((n) => n % 2 === 0)).toBe(true);
  victim.crash();
  leaving.abort(new Error('left'));
  await clock.advance(1_000);
  expect(await Promise.all(later)).toEqual(Array.from({ length: 8 }, (_, n) => 100 + n));
  expect(await Promise.all(calls.filter((_, n) => n % 2 === 1))).toEqual([1, 3, 5, 7]);
  await pool.close();
});

test('a worker that is long at something goes on with the rest, though suspects wait for it', async () => {
  const { clock, pool, workers, model } = simulateModel(
    {
      serviceMs: (input) => (input === 'long' ? 600_000 : 10),
      loadError: (index) => (index < 2 ? undefined : new Error('no more')),
    },
    {
      minWorkers: 2,
      maxWorkers: 2,
      concurrency: 8,
      routing: 'roundRobin',
      breaker: false,
      timeoutMs: 30_000,
    },
  );
  await clock.advance(1);
  const lost = [model.call('echo', 'lost'), model.call('echo', 'long', { timeoutMs: 600_000 })];
  for (const call of lost) call.catch(() => {});
  void model.call('echo', 'lost too').catch(() => {});
  await clock.advance(1);
  workers[0]?.crash();
  const answers: unknown[] = [];
  for (let n = 0; n < 40; n += 1) {
    void model.call('echo', n).then(
      (value) => answers.push(value),
      () => {},
    );
    await clock.advance(250);
  }
  // Nothing for two seconds out of four at most.
  expect(answers.length).toBeGreaterThan(20);
  await pool.destroy();
});

/** One order of events. */
const orders = fc.record({
  workers: fc.integer({ min: 1, max: 3 }),
  concurrency: fc.integer({ min: 1, max: 8 }),
  retries: fc.integer({ min: 1, max: 2 }),
  loadMs: fc.integer({ min: 0, max: 400 }),
  calls: fc.array(
    fc.record({
      atMs: fc.integer({ min: 0, max: 2_000 }),
      kind: fc.constantFrom('good', 'good', 'good', 'good', 'guilty', 'once', 'leaving', 'short'),
      serviceMs: fc.integer({ min: 0, max: 60 }),
    }),
    { minLength: 1, maxLength: 60 },
  ),
  kills: fc.array(fc.record({ atMs: fc.integer({ min: 0, max: 2_500 }), victim: fc.nat({ max: 2 }) }), {
    maxLength: 6,
  }),
});

test('whatever crashes when, the guilty fail alone, the innocent are answered, a suspect has its worker to itself, and the ledger is exact', async () => {
  await fc.assert(
    fc.asyncProperty(orders, async ({ workers: count, concurrency, retries, loadMs, calls, kills }) => {
      const kindOf = (input: unknown) => calls[input as number]?.kind;
      const { clock, pool, workers, model } = simulateModel(
        {
          loadMs,
          serviceMs: (input) => calls[input as number]?.serviceMs ?? 0,
          crashes: (input) => kindOf(input) === 'guilty',
        },
        { maxWorkers: count, minWorkers: count, concurrency, retries, breaker: false, timeoutMs: 600_000 },
      );
      const outcomes: unknown[] = new Array(calls.length);
      for (const [input, { atMs, kind }] of calls.entries()) {
        clock.setTimer(() => {
          const leaving = new AbortController();
          if (kind === 'leaving') clock.setTimer(() => leaving.abort(new Error('left')), 25);
          const options = { signal: leaving.signal, ...(kind === 'short' ? { timeoutMs: 30 } : {}) };
          const call = model.call(kind === 'once' ? 'once' : 'echo', input, options);
          void outcomeOf(call).then((outcome) => {
            outcomes[input] = outcome;
          });
        }, atMs);
      }
      for (const { atMs, victim } of kills) {
        clock.setTimer(() => {
          const alive = workers.filter((worker) => worker.state.current !== 'dead');
          alive[victim % Math.max(1, alive.length)]?.crash();
        }, atMs);
      }
      // Each of the guilty costs `retries + 1` workers at most, and one is started every five seconds at least.
      await clock.advance(4_000 + calls.length * (retries + 2) * 6_000);

      const alone = convictions(workers);
      for (const [input, { kind }] of calls.entries()) {
        const convicted = alone.filter((each) => each === input).length;
        if (kind === 'guilty') expect([outcomes[input], convicted]).toEqual(['ERR_WORKER_CRASHED', retries + 1]);
        if (kind === 'good') {
          // Only kills that met it alone, again and again, can have cost it its answer.
          expect(outcomes[input]).toBe(convicted > retries ? 'ERR_WORKER_CRASHED' : input);
        }
        expect(outcomes[input]).toBeDefined();
      }
      // What was lost beside others is alone from then on.
      const suspects = new Set<unknown>();
      const crashed = workers.filter(({ lost }) => lost !== undefined);
      crashed.sort((one, other) => one.crashIndex - other.crashIndex);
      for (const { lost = [] } of crashed) {
        for (const input of lost) {
          if (suspects.has(input)) expect(lost).toEqual([input]);
          suspects.add(input);
        }
      }
      const { accepted, succeeded, failed, expired, cancelled, pending } = pool.stats();
      expect([pending, succeeded + failed + expired + cancelled]).toEqual([0, accepted]);
      await pool.close();
    }),
    { numRuns: 150 },
  );
}, 60_000);
