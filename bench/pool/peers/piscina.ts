import { Piscina } from 'piscina';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll } from '../clients.js';

async function noop(n: number, clients: number) {
  const piscina = new Piscina({
    // Seen from bench/.build/pool/peers/.
    filename: new URL('../../../pool/peers/piscina-task.mjs', import.meta.url).href,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 64,
  });
  await piscina.run(0);
  return await callAll(
    n,
    clients,
    (value) => piscina.run(value),
    () => piscina.close(),
  );
}

export const scenarios: Scenarios = { 'noop/1': (n) => noop(n, 1), 'noop/64': (n) => noop(n, 64) };
