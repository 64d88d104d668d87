/**
 * Channels against their JavaScript peers. `npm run bench -- channels [--short] [--json] [--cpu] [--rounds=9] [--only=millrace,effect] [filter…]`
 */
import { type Comparison, compare, type ScenarioSpec } from '../harness/compare.js';

const sum = (n: number): number => (n * (n - 1)) / 2;
const modes = ['for-await', 'recv', 'recvMany', 'forEach', 'ready'];

function each(name: string, n: number): ScenarioSpec[] {
  return modes.map((mode) => ({ name: `${name}/${mode}`, n, sum }));
}

const comparison: Comparison = {
  title: 'channels',
  scenarios: [
    { name: 'floor', n: 1_000_000, unit: 'hops' },
    ...each('burst', 200_000),
    ...each('steady', 200_000),
    ...each('bounded', 200_000),
    ...each('fan-in', 200_000),
    { name: 'rpc/1', n: 100_000, sum: (n) => sum(n) + n, unit: 'calls' },
    { name: 'rpc/64', n: 100_000, sum: (n) => sum(n) + n, unit: 'calls' },
    { name: 'select/ready', n: 200_000, sum, unit: 'turns' },
    { name: 'select/waiting', n: 100_000, sum, unit: 'turns' },
    { name: 'create/channel', n: 100_000, unit: 'channels' },
    { name: 'create/oneshot', n: 100_000, unit: 'oneshots' },
    { name: 'port/batches', n: 100_000, sum },
    { name: 'port/singles', n: 100_000, sum },
  ],
  contenders: {
    millrace: 'channels/millrace.ts',
    effect: 'channels/peers/effect.ts',
    'ts-chan': 'channels/peers/ts-chan.ts',
    'ts-chan (unsafe)': 'channels/peers/ts-chan-unsafe.ts',
    '@thi.ng/csp': 'channels/peers/thing-csp.ts',
    'async-channel': 'channels/peers/async-channel.ts',
    medium: 'channels/peers/medium.ts',
    repeater: 'channels/peers/repeater.ts',
    'it-pushable': 'channels/peers/it-pushable.ts',
    fastq: 'channels/peers/fastq.ts',
    'p-queue': 'channels/peers/p-queue.ts',
    'Node Readable': 'channels/peers/node-readable.ts',
    'web streams': 'channels/peers/web-streams.ts',
    'events.on': 'channels/peers/events-on.ts',
    MessagePort: 'channels/peers/message-port.ts',
    'MessagePort, events.on': 'channels/peers/port-events-on.ts',
    comlink: 'channels/peers/comlink.ts',
    'plain promises': 'channels/peers/promises.ts',
    bound: 'channels/peers/bound.ts',
  },
  ours: ['millrace'],
  notPeers: ['plain promises', 'bound'],
  maxRunMs: 150,
};

/** Runs the benchmark. */
export function run(args: string[]): Promise<void> {
  return compare(comparison, args);
}
