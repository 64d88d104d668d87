import { createPool } from 'millrace/pool';
import { operation } from 'millrace/worker';
import type { Scenarios } from '../harness/scenario.js';
import { callAll } from './clients.js';

async function noop(n: number, clients: number) {
  const pool = createPool();
  const model = pool.register('noop', {
    operations: { noop: operation<number, number>() },
    load: () => ({ noop: (value: number) => value + 1 }),
    maxWorkers: 1,
    concurrency: 64,
  });
  await pool.warm('noop');
  return await callAll(
    n,
    clients,
    (value) => model.call('noop', value),
    () => pool.close(),
  );
}

export const scenarios: Scenarios = { 'noop/1': (n) => noop(n, 1), 'noop/64': (n) => noop(n, 64) };
