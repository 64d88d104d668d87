/**
 * What a call costs in a pool, and what a pool does under overload.
 * `npm run bench -- pool [--short] [--json] [--cpu] [--rounds=9] [--only=…] [noop|overload]`
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Comparison, compare } from '../harness/compare.js';
import { benchFile, bundle } from '../harness/prepare.js';
import type { OverloadReport } from './overload.js';

const sum = (n: number): number => (n * (n - 1)) / 2 + n;

const comparison: Comparison = {
  title: 'pool',
  scenarios: [
    { name: 'noop/1', n: 50_000, sum, unit: 'calls' },
    { name: 'noop/64', n: 100_000, sum, unit: 'calls' },
  ],
  contenders: {
    'millrace (inline)': 'pool/millrace-inline.ts',
    'millrace (thread)': 'pool/millrace-thread.ts',
    'worker alone (inline)': 'pool/worker-handle.ts',
    'piscina (thread)': 'pool/peers/piscina.ts',
    'p-queue (function)': 'pool/peers/p-queue.ts',
  },
  ours: ['millrace (inline)', 'millrace (thread)'],
  notPeers: ['worker alone (inline)'],
  // Warming up is bounded by it: a million calls of one client through a thread would take minutes.
  maxRunMs: 1_500,
};

/** Runs the benchmark. */
export async function run(args: string[]): Promise<void> {
  const filters = args.filter((arg) => !arg.startsWith('--'));
  if (filters.length === 0 || filters.some((filter) => filter !== 'overload')) await compare(comparison, args);
  if (filters.length === 0 || filters.includes('overload')) await runOverload(args);
}

async function runOverload(args: readonly string[]): Promise<void> {
  const seconds = args.includes('--short') ? 3 : 20;
  const [url] = await bundle([benchFile('pool/overload-child.ts')]);
  const child = fork(fileURLToPath(url as string), [String(seconds)], { execArgv: ['--expose-gc'] });
  const [report] = (await once(child, 'message')) as [OverloadReport];
  if (args.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ title: 'pool overload', seconds, ...report }, null, 2)}\n`);
    return;
  }
  const share = (100 * report.goodput) / report.capacity;
  const meanwhile = (100 * report.goodput) / report.capacityMeanwhile;
  process.stdout.write(`
overload  (3 times the capacity for ${seconds} s, deadline 50 ms, 4 inline workers of 5 ms)
  capacity ${report.capacity.toFixed(0)}/s (${report.capacities.map((each) => each.toFixed(0)).join(' before, ')} after), offered ${report.offered.toFixed(0)}/s
  goodput ${report.goodput.toFixed(0)}/s, ${share.toFixed(1)} % of the capacity, ${meanwhile.toFixed(1)} % of what the workers could do meanwhile; p99 ${report.p99Ms.toFixed(1)} ms; ${report.late} late
  time in a worker ${report.serviceP50Ms.toFixed(1)} ms, p99 ${report.serviceP99Ms.toFixed(1)} ms, ${(100 * report.tooLong).toFixed(1)} % beyond the deadline by itself: above 5 ms it is the machine's noise
  heap ${report.heapGrowth >= 0 ? '+' : ''}${(report.heapGrowth / 1e6).toFixed(2)} MB from the first tenth to the end
`);
}
