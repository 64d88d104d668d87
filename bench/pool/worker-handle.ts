/** The worker without the pool: what is left is the pool's own part. */
import { operation, spawnWorker } from 'millrace/worker';
import type { Scenarios } from '../harness/scenario.js';
import { callAll } from './clients.js';

async function noop(n: number, clients: number) {
  const worker = spawnWorker({
    host: 'inline',
    operations: { noop: operation<number, number>() },
    load: () => ({ noop: (value: number) => value + 1 }),
    concurrency: 64,
  });
  await worker.state.waitFor('ready');
  return await callAll(
    n,
    clients,
    (value) => worker.call('noop', value, { timeoutMs: 30_000 }),
    () => worker.close(),
  );
}

export const scenarios: Scenarios = { 'noop/1': (n) => noop(n, 1), 'noop/64': (n) => noop(n, 64) };
