import PQueue from 'p-queue';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll } from '../clients.js';

function noop(n: number, clients: number) {
  const queue = new PQueue({ concurrency: 64 });
  return callAll(n, clients, (value) => queue.add(async () => value + 1) as Promise<number>);
}

export const scenarios: Scenarios = { 'noop/1': (n) => noop(n, 1), 'noop/64': (n) => noop(n, 64) };
