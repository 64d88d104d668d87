/**
 * Workers against pools of workers, and against what they are made of.
 * `npm run bench -- worker [--short] [--json] [--rounds=9] [--only=millrace-thread,piscina] [inline|thread|process]`
 */
import { type Comparison, compare, type ScenarioSpec } from '../harness/compare.js';

const sum = (n: number): number => (n * (n - 1)) / 2 + n;

function scenarios(one: number, many: number, arrays: readonly ScenarioSpec[]): ScenarioSpec[] {
  return [
    { name: 'rpc/1', n: one, sum, unit: 'calls' },
    { name: 'rpc/16', n: many, sum, unit: 'calls' },
    { name: 'rpc/64', n: many, sum, unit: 'calls' },
    ...arrays,
  ];
}

const copied: ScenarioSpec = { name: '600 KB/copied', n: 1_000, unit: 'round trips' };
const moved: ScenarioSpec = { name: '600 KB/moved', n: 10_000, unit: 'round trips' };

/** Bounds the warming up, too: a million copies of an array would take minutes. */
const MAX_RUN_MS = 700;

const comparisons: Readonly<Record<string, Comparison>> = {
  inline: {
    title: 'worker inline',
    scenarios: scenarios(100_000, 100_000, []),
    contenders: {
      'millrace-inline': 'worker/peers/millrace-inline.ts',
      'bare channel': 'worker/peers/bare-channel.ts',
    },
    maxRunMs: MAX_RUN_MS,
    ours: ['millrace-inline'],
  },
  thread: {
    title: 'worker in a thread',
    scenarios: scenarios(10_000, 50_000, [copied, moved]),
    contenders: {
      'millrace-thread': 'worker/peers/millrace-thread.ts',
      piscina: 'worker/peers/piscina.ts',
      tinypool: 'worker/peers/tinypool.ts',
      workerpool: 'worker/peers/workerpool-thread.ts',
      'raw MessagePort': 'worker/peers/raw-port.ts',
    },
    maxRunMs: MAX_RUN_MS,
    ours: ['millrace-thread'],
    notPeers: ['raw MessagePort'],
  },
  process: {
    title: 'worker in a process',
    scenarios: scenarios(5_000, 20_000, [copied]),
    contenders: {
      'millrace-process': 'worker/peers/millrace-process.ts',
      'raw fork': 'worker/peers/raw-fork.ts',
      workerpool: 'worker/peers/workerpool-process.ts',
    },
    maxRunMs: MAX_RUN_MS,
    ours: ['millrace-process'],
  },
};

/** Runs the benchmark: all hosts, or those that are named. */
export async function run(args: string[]): Promise<void> {
  const named = args.filter((arg) => Object.hasOwn(comparisons, arg));
  const rest = args.filter((arg) => !named.includes(arg));
  for (const [name, comparison] of Object.entries(comparisons)) {
    if (named.length > 0 && !named.includes(name)) continue;
    if (!rest.includes('--json')) process.stdout.write(`\n## ${comparison.title}\n`);
    await compare(comparison, rest);
  }
}
