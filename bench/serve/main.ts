/**
 * What HTTP costs, and what it bears: `npm run bench -- serve [--short] [--only=rate,large,overload] [--seconds=8] [--rounds=5] [--workers=2] [--json]`
 *
 * - `rate`: images a second of the pool in its own process, of the server with raw bytes and with base64 in JSON, and of a plain server beside it. They take
 *   turns, round by round; the ratios are medians of the rounds. The client shares the machine's cores, which the pool alone has for itself; so the CPU of
 *   the server and its workers for each image is there, too, and its ratio is that of a machine whose clients are elsewhere.
 * - `large`: 8 clients post valid JSON bodies of 21 MB, while `/health` is asked every 10 ms; and `/health` alone before that, which is the machine's noise.
 * - `overload`: three times the requests that were answered without overload, at even distances.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { findModel } from '../embed/models.js';
import { makeImages } from '../embed/images.js';
import { treeCpuMs } from '../embed/process-tree.js';
import { optionOf } from '../harness/arguments.js';
import { benchFile, bundle } from '../harness/prepare.js';
import type { Load, LoadReport } from './client.js';
import type { Order } from './millrace-server.js';

interface Rate {
  readonly name: string;
  readonly imagesPerSecond: number;
  readonly ratio: number;
  readonly cpuMs: number;
  readonly cpuRatio: number;
}

interface ServerState {
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly memoryMb: number;
  readonly ledger: Readonly<Record<string, number>>;
}

const LANES = 64;
const LARGE_CLIENTS = 8;

/** Runs the benchmark. */
export async function run(args: string[]): Promise<void> {
  const isShort = args.includes('--short');
  const ms = 1_000 * Number(optionOf(args, 'seconds') ?? (isShort ? 2 : 8));
  const rounds = Number(optionOf(args, 'rounds') ?? (isShort ? 1 : 5));
  const workers = Number(optionOf(args, 'workers') ?? Math.min(4, availableParallelism()));
  const only = optionOf(args, 'only')?.split(',') ?? ['rate', 'large', 'overload'];
  const files = ['millrace-server', 'plain-server', 'client'].map((name) => benchFile(`serve/${name}.ts`));
  const [millraceFile, plainFile, clientFile] = (await bundle(files)) as [string, string, string];
  const paths = await makeImages(isShort ? 32 : 128);
  const children: ChildProcess[] = [];
  const start = async (url: string, ...rest: string[]): Promise<{ child: ChildProcess; url: string }> => {
    const child = fork(fileURLToPath(url), rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    children.push(child);
    const [{ url: at = '' }] = (await once(child, 'message')) as [{ url?: string }];
    return { child, url: at };
  };
  const report: Record<string, unknown> = {};
  try {
    const millrace = await start(millraceFile, String(workers));
    const { child: client } = await start(clientFile);
    const load = async (what: Omit<Load, 'paths'>): Promise<LoadReport> => await ask(client, { ...what, paths });
    const state = async (): Promise<ServerState> => await ask(millrace.child, { kind: 'delay' } satisfies Order);
    // Until every worker is warm, and code is compiled.
    await load({ url: millrace.url, body: 'json', lanes: LANES, ms: Math.min(ms, 3_000) });
    if (only.includes('rate')) {
      const plain = await start(plainFile, await findModel('mobilenet'));
      await load({ url: plain.url, body: 'raw', lanes: LANES, ms: Math.min(ms, 2_000) });
      const contenders: Record<string, () => Promise<number>> = {
        'pool, no HTTP': async () => {
          const order: Order = { kind: 'pool', paths, lanes: LANES, ms };
          return (await ask<{ perSecond: number }>(millrace.child, order)).perSecond;
        },
        'millrace serve, raw bytes': async () =>
          rateOf(await load({ url: millrace.url, body: 'raw', lanes: LANES, ms })),
        'millrace serve, JSON base64': async () =>
          rateOf(await load({ url: millrace.url, body: 'json', lanes: LANES, ms })),
        'plain node:http, raw bytes': async () => rateOf(await load({ url: plain.url, body: 'raw', lanes: LANES, ms })),
        'plain node:http, JSON base64': async () =>
          rateOf(await load({ url: plain.url, body: 'json', lanes: LANES, ms })),
      };
      const rates: Record<string, number[]> = {};
      const costs: Record<string, number[]> = {};
      for (let round = 0; round < rounds; round += 1) {
        for (const [name, measure] of Object.entries(contenders)) {
          const { pid } = name.startsWith('plain') ? plain.child : millrace.child;
          const [cpuMs, at] = [await treeCpuMs([pid as number]), performance.now()];
          const rate = await measure();
          const images = (rate * (performance.now() - at)) / 1_000;
          rates[name] = [...(rates[name] ?? []), rate];
          costs[name] = [...(costs[name] ?? []), ((await treeCpuMs([pid as number])) - cpuMs) / images];
        }
      }
      plain.child.kill();
      const [pools, poolCosts] = [rates, costs].map((all) => all['pool, no HTTP'] as number[]) as [number[], number[]];
      report.rate = Object.entries(rates).map(([name, each]) => ({
        name,
        imagesPerSecond: median(each),
        ratio: median(each.map((rate, round) => rate / (pools[round] as number))),
        cpuMs: median(costs[name] as number[]),
        cpuRatio: median((costs[name] as number[]).map((cost, round) => (poolCosts[round] as number) / cost)),
      }));
    }
    if (only.includes('large')) {
      await state();
      const alone = await load({ url: millrace.url, body: 'large', lanes: 0, ms, asksHealth: true });
      const { p99Ms: loopDelayAloneP99Ms } = await state();
      const large = await load({
        url: millrace.url,
        body: 'large',
        lanes: LARGE_CLIENTS,
        ms: 2 * ms,
        asksHealth: true,
      });
      const { p99Ms, maxMs, memoryMb } = await state();
      const { healthP99Ms: healthAloneP99Ms } = alone;
      report.large = {
        ...large,
        loopDelayP99Ms: p99Ms,
        loopDelayMaxMs: maxMs,
        healthAloneP99Ms,
        loopDelayAloneP99Ms,
        memoryMb,
      };
    }
    if (only.includes('overload')) {
      const before = await load({ url: millrace.url, body: 'raw', lanes: LANES, ms });
      const { memoryMb } = await state();
      const offered = 3 * before.perSecond;
      const during = await load({ url: millrace.url, body: 'raw', lanes: 0, ms: 3 * ms, perSecond: offered });
      const after = await state();
      report.overload = {
        capacity: before.perSecond,
        offered,
        ...during,
        goodput: during.perSecond / before.perSecond,
        memoryMbBefore: memoryMb,
        memoryMbAfter: after.memoryMb,
        ledger: after.ledger,
      };
    }
  } finally {
    for (const child of children) child.kill();
  }
  process.stdout.write(args.includes('--json') ? `${JSON.stringify(report, null, 2)}\n` : render(report));
}

async function ask<Answer>(child: ChildProcess, order: Load | Order): Promise<Answer> {
  const answered = once(child, 'message') as Promise<[Answer]>;
  child.send(order);
  return (await answered)[0];
}

/** Throws where anything but 200 was answered: a rate of refusals is none. */
function rateOf({ statuses, perSecond }: LoadReport): number {
  if (Object.keys(statuses).join() !== '200') throw new Error(`Not all were answered 200: ${JSON.stringify(statuses)}`);
  return perSecond;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

function render(report: Record<string, unknown>): string {
  const lines: string[] = [];
  const rate = report.rate as Rate[] | undefined;
  if (rate !== undefined) {
    lines.push(
      '',
      '| way | images/s | ratio to the pool | CPU ms/image | ratio by CPU |',
      '| --- | --- | --- | --- | --- |',
    );
    for (const { name, imagesPerSecond, ratio, cpuMs, cpuRatio } of rate) {
      const figures = [imagesPerSecond.toFixed(0), ratio.toFixed(2), cpuMs.toFixed(1), cpuRatio.toFixed(2)];
      lines.push(`| ${name} | ${figures.join(' | ')} |`);
    }
  }
  for (const name of ['large', 'overload']) {
    const figures = report[name] as Record<string, unknown> | undefined;
    if (figures === undefined) continue;
    lines.push('', `| ${name} | |`, '| --- | --- |');
    for (const [figure, value] of Object.entries(figures)) {
      const shown = typeof value === 'number' ? String(Math.round(value * 100) / 100) : JSON.stringify(value);
      lines.push(`| ${figure} | ${shown} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}
