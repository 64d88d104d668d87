/** When a call that ran out of time says something about its model. */
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { createPool } from '../../../src/pool/index.js';
import { operation } from '../../../src/worker/index.js';
import { simulate, simulated, simulateModel } from '../../support/simulated-worker.js';

/** One failure that counts is enough to open it. */
const strict = { failures: 1, failureRate: 1e-9 };

function open(serviceMs: (input: unknown) => number, options: Parameters<typeof simulated>[0] = {}) {
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs },
    { maxWorkers: 1, concurrency: 8, breaker: strict, ...options },
  );
  const expire = async (input: unknown, timeoutMs?: number) => {
    const call = model.call('echo', input, timeoutMs === undefined ? undefined : { timeoutMs });
    const outcome = call.catch((error: unknown) => (error as { code: string }).code);
    await clock.advance(timeoutMs ?? 1_000);
    return await outcome;
  };
  return { clock, pool, workers, model, expire, breaker: () => pool.health().models.m?.breaker };
}

test('five calls that are given 5 ms by a model that takes 60 do not open its breaker, before and after its first answer', async () => {
  const { clock, model, expire, breaker } = open(() => 60);
  for (let turn = 0; turn < 5; turn += 1) expect(await expire(turn, 5)).toBe('ERR_DEADLINE_EXCEEDED');
  await clock.advance(1_000);
  const first = model.call('echo', 'first');
  await clock.advance(60);
  expect(await first).toBe('first');
  for (let turn = 0; turn < 5; turn += 1) expect(await expire(turn, 5)).toBe('ERR_DEADLINE_EXCEEDED');
  expect(breaker()).toBe('closed');
});

test('a timeout counts once the model had the call for four times what the operation takes, and not before', async () => {
  const { clock, model, expire, breaker } = open((input) => (input === 'hang' ? 1e6 : 60));
  const first = model.call('echo', 'first');
  await clock.advance(60);
  await first;
  expect(await expire('hang', 230)).toBe('ERR_DEADLINE_EXCEEDED');
  expect(breaker()).toBe('closed');
  expect(await expire('hang', 240)).toBe('ERR_DEADLINE_EXCEEDED');
  expect(breaker()).toBe('open');
});

test('a timeout counts once the model had the call for the timeout of its own, whatever it takes as a rule', async () => {
  const { expire, breaker } = open(() => 1e6, { timeoutMs: 1_000 });
  expect(await expire('hang', 900)).toBe('ERR_DEADLINE_EXCEEDED');
  expect(breaker()).toBe('closed');
  expect(await expire('hang')).toBe('ERR_DEADLINE_EXCEEDED');
  expect(breaker()).toBe('open');
});

test('a timeout of what waits for others than the model does not count, whatever of its input says so', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 1e6 });
  const waitsForOthers = (input: unknown) => {
    if (input === 'throws') throw new Error('no answer');
    return input === 'elsewhere';
  };
  const settings = simulated({ maxWorkers: 1, concurrency: 8, breaker: strict, timeoutMs: 1_000 });
  const operations = { ...settings.operations, echo: operation<unknown, unknown>({ waitsForOthers }) };
  const model = pool.register('m', { ...settings, operations });
  const expire = async (input: string) => {
    const outcome = model.call('echo', input).catch((error: unknown) => (error as { code: string }).code);
    await clock.advance(1_000);
    expect(await outcome).toBe('ERR_DEADLINE_EXCEEDED');
    return pool.health().models.m?.breaker;
  };
  expect(await expire('elsewhere')).toBe('closed');
  expect(await expire('throws')).toBe('open');
});

test('what a call has waited for a worker is none of the time that the model had it', async () => {
  const { clock, model, breaker } = open(() => 100, { concurrency: 1 });
  const first = model.call('echo', 0);
  await clock.advance(100);
  await first;
  // Each waits for the one before it, 400 ms and more, and is run for 50 at last.
  const calls = Array.from({ length: 5 }, (_, turn) => model.call('echo', turn).catch(() => {}));
  const late = model
    .call('echo', 'late', { timeoutMs: 550 })
    .catch((error: unknown) => (error as { code: string }).code);
  await clock.advance(550);
  expect(await late).toBe('ERR_DEADLINE_EXCEEDED');
  expect(breaker()).toBe('closed');
  await clock.advance(1_000);
  await Promise.all(calls);
});

test('operations are judged each by its own time', async () => {
  const { clock, model, expire, breaker } = open((input) => input as number);
  // A quick one, many times; then a slow one.
  for (let turn = 0; turn < 20; turn += 1) {
    const quick = model.call('once', 1);
    await clock.advance(1);
    await quick;
  }
  const slow = model.call('echo', 200);
  await clock.advance(200);
  await slow;
  expect(await expire(1e6, 700)).toBe('ERR_DEADLINE_EXCEEDED');
  expect(breaker()).toBe('closed');
});

test('five failures beside 2,755 successes do not open the breaker, and five of ten do', async () => {
  const answer = (input: unknown) => {
    if (input === 'bad') throw new Error('the model');
    return input;
  };
  const { clock, pool, model } = simulateModel({ answer }, { concurrency: 64 });
  const run = async (inputs: unknown[]) => {
    const calls = inputs.map((input) => model.call('echo', input).catch(() => {}));
    await clock.advance(1);
    await Promise.all(calls);
  };
  for (let turn = 0; turn < 55; turn += 1)
    await run(Array.from({ length: 51 }, (_, index) => (turn % 11 === 0 && index === 0 ? 'bad' : index)));
  expect(pool.stats()).toMatchObject({ failed: 5, succeeded: 2_800 });
  expect(pool.health().models.m?.breaker).toBe('closed');
  await clock.advance(60_000);
  await run([1, 2, 3, 4, 5, 'bad', 'bad', 'bad', 'bad', 'bad']);
  expect(pool.health().models.m?.breaker).toBe('open');
});

test('a crash is one failure, however many calls it takes along', async () => {
  const { clock, pool, workers, model } = open(() => 100, { breaker: { failures: 2 }, retries: 0 });
  await pool.warm('m');
  for (const state of ['closed', 'open']) {
    const calls = Array.from({ length: 8 }, (_, turn) =>
      model.call('once', turn).catch((error: unknown) => (error as { code: string }).code),
    );
    await clock.advance(10);
    workers.at(-1)?.crash();
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['ERR_WORKER_CRASHED']));
    expect(pool.health().models.m?.breaker).toBe(state);
    await clock.advance(10_000);
    await pool.warm('m').catch(() => {});
  }
});

test('what a call has waited for the model inside its worker is none of the time that the model had it', async () => {
  const clock = new SimulatedClock();
  const pool = createPool({ clock });
  const model = pool.register('m', {
    operations: { work: operation<number, number>() },
    load: () => ({ work: (ms: number) => new Promise<number>((resolve) => clock.setTimer(() => resolve(ms), ms)) }),
    maxWorkers: 1,
    maxBatch: 8,
    breaker: strict,
  });
  await pool.warm('m');
  const first = model.call('work', 50);
  await clock.advance(0);
  await clock.advance(50);
  await first;
  // One after another: the last of them would be at it for the first time after 350 ms.
  const calls = Array.from({ length: 8 }, () =>
    model.call('work', 50, { timeoutMs: 220 }).catch((error: unknown) => (error as { code: string }).code),
  );
  await clock.advance(0);
  for (let turn = 0; turn < 5; turn += 1) await clock.advance(50);
  expect(await Promise.all(calls)).toEqual([50, 50, 50, 50, ...Array(4).fill('ERR_DEADLINE_EXCEEDED')]);
  expect(pool.health().models.m?.breaker).toBe('closed');
  await pool.close();
});
