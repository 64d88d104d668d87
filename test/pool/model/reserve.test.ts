/** Places of a worker that requests of the class `'batch'` leave to the others. */
import { expect, test } from 'vitest';
import type { ModelOptions } from '../../../src/pool/index.js';
import { simulated, simulateModel } from '../../support/simulated-worker.js';

const OPTIONS = { concurrency: 6, reserve: 2, maxWorkers: 1 } satisfies Partial<
  Pick<ModelOptions, 'concurrency' | 'reserve' | 'maxWorkers' | 'shares'>
>;

/** A pool of one worker whose requests take 100 ms, and what was answered, in order. */
function stage(options: Partial<Pick<ModelOptions, 'concurrency' | 'reserve' | 'maxWorkers' | 'shares'>> = {}) {
  const { clock, pool, workers, model } = simulateModel({ serviceMs: () => 100 }, { ...OPTIONS, ...options });
  const answered: unknown[] = [];
  const call = (input: string, priority: 'interactive' | 'normal' | 'batch', signal?: AbortSignal) => {
    model.call('echo', input, { priority, ...(signal === undefined ? {} : { signal }) }).then(
      () => answered.push(input),
      () => undefined,
    );
  };
  return { clock, pool, workers, call, answered };
}

test('Pool.register() keeps the reserve of a worker free of what is of the class batch', async () => {
  const { clock, workers, call, answered } = stage();
  for (let index = 0; index < 20; index += 1) call(`bulk ${index}`, 'batch');
  await clock.advance(1);
  expect(workers[0]?.inFlight).toBe(4);
  call('single', 'normal');
  await clock.advance(0);
  expect(workers[0]?.given.at(-1)).toBe('single');
  await clock.advance(100);
  expect(answered).toContain('single');
  expect(answered).toHaveLength(5);
  expect(workers[0]?.inFlight).toBe(4);
  expect(workers[0]?.mostInFlight).toBe(5);
  await clock.advance(1_000);
  expect(answered).toHaveLength(21);
});

test('Pool.register() lets the classes share as before where the others fill the window, its reserve too', async () => {
  const { clock, workers, call, answered } = stage({ shares: { normal: 0.2, batch: 0.25 } });
  for (let index = 0; index < 6; index += 1) call(`first ${index}`, 'normal');
  await clock.advance(1);
  expect(workers[0]?.inFlight).toBe(6);
  for (let index = 0; index < 20; index += 1) call(`bulk ${index}`, 'batch');
  for (let index = 0; index < 20; index += 1) call(`single ${index}`, 'normal');
  await clock.advance(310);
  const bulk = answered.filter((each) => String(each).startsWith('bulk')).length;
  expect(bulk).toBeGreaterThanOrEqual(2);
  expect(bulk).toBeLessThanOrEqual(4);
  await clock.advance(2_000);
  expect(answered).toHaveLength(46);
});

test('Pool.register() gives the places of calls given up back to the class batch', async () => {
  const { clock, workers, call, answered } = stage();
  const controller = new AbortController();
  for (let index = 0; index < 4; index += 1) call(`given up ${index}`, 'batch', controller.signal);
  await clock.advance(1);
  controller.abort();
  await clock.advance(100);
  for (let index = 0; index < 8; index += 1) call(`bulk ${index}`, 'batch');
  await clock.advance(1);
  expect(workers[0]?.inFlight).toBe(4);
  await clock.advance(500);
  expect(answered).toHaveLength(8);
});

test('Pool.register() refuses a reserve that leaves the class batch no place', () => {
  const { pool } = stage();
  expect(() => pool.register('n', simulated({ concurrency: 4, reserve: 4 }))).toThrow(RangeError);
});
