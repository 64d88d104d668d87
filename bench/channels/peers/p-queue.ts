/** A work queue rather than a channel: it answers calls, one at a time here, as an actor does. */
import PQueue from 'p-queue';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll } from '../adapter.js';

const rpc = (n: number, clients: number) => {
  const queue = new PQueue({ concurrency: 1 });
  return callAll(n, clients, (value) => queue.add(async () => value + 1) as Promise<number>);
};

export const scenarios: Scenarios = { 'rpc/1': (n) => rpc(n, 1), 'rpc/64': (n) => rpc(n, 64) };
