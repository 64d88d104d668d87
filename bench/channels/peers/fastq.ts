/** A work queue rather than a channel: it answers calls, one at a time here, as an actor does. */
import fastq from 'fastq';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll } from '../adapter.js';

const rpc = (n: number, clients: number) => {
  const queue = fastq.promise(async (value: number) => value + 1, 1);
  return callAll(n, clients, (value) => queue.push(value) as Promise<number>);
};

export const scenarios: Scenarios = { 'rpc/1': (n) => rpc(n, 1), 'rpc/64': (n) => rpc(n, 64) };
