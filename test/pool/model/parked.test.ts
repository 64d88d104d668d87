/** Requests that wait for something else than their worker take no places from the others. */
import { expect, test, vi } from 'vitest';
import { createPool, type ModelOptions } from '../../../src/pool/index.js';
import { operation } from '../../../src/worker/index.js';

/** A pool of one worker whose calls named `parked` wait until they are let go, and are told by its health. */
function stage(options: Pick<ModelOptions, 'maxParked' | 'reserve'>) {
  const waiting: (() => void)[] = [];
  let asked = 0;
  const pool = createPool();
  const model = pool.register('m', {
    ...options,
    host: 'inline',
    operations: { work: operation<string, string>() },
    maxWorkers: 1,
    concurrency: 2,
    load: () => ({
      async work(input: string) {
        if (input === 'parked') await new Promise<void>((resolve) => waiting.push(resolve));
        return input;
      },
      health: () => {
        asked += 1;
        return { parked: waiting.length };
      },
    }),
  });
  const letGo = (): void => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  return { pool, waiting, letGo, asked: () => asked, call: (input: string) => model.call('work', input) };
}

test('Pool.register() gives a worker more than its window while as many of its calls are parked', async () => {
  const { pool, waiting, letGo, call } = stage({ maxParked: 3 });
  const parked = Array.from({ length: 5 }, () => call('parked'));
  await vi.waitFor(() => expect(waiting).toHaveLength(5));
  // Two of the window and three beyond it: no more than that.
  let isAnswered = false;
  const late = call('quick').then(() => (isAnswered = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(isAnswered).toBe(false);
  letGo();
  await Promise.all([...parked, late]);
  await pool.close();
});

test('Pool.register() answers what is quick beside what is parked', async () => {
  const { pool, waiting, letGo, call } = stage({ maxParked: 3 });
  const parked = [call('parked'), call('parked')];
  await vi.waitFor(() => expect(waiting).toHaveLength(2));
  for (let round = 0; round < 5; round++) expect(await call('quick')).toBe('quick');
  letGo();
  await Promise.all(parked);
  await pool.close();
});

test('Pool.register() asks no worker of a model that parks nothing', async () => {
  const { pool, letGo, waiting, asked, call } = stage({});
  const all = ['parked', 'parked', 'quick'].map(call);
  await vi.waitFor(() => expect(waiting).toHaveLength(2));
  letGo();
  await Promise.all(all);
  expect(asked()).toBe(0);
  await pool.close();
});
