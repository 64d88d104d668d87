/**
 * Runs contenders against each other. Every contender has a process of its own for every scenario; the processes take turns, round by round,
 * so that a change of the machine's mood meets all of them. Counts and sums are checked after every run.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RunReport } from './child.js';
import { benchFile, bundle, installPeers } from './prepare.js';

export interface ScenarioSpec {
  readonly name: string;
  /** How many messages one run moves. */
  readonly n: number;
  /** The sum the values must have after `n` messages, where there is one. */
  readonly sum?: (n: number) => number;
  /** What `n` counts, for the table. */
  readonly unit?: string;
}

export interface Comparison {
  readonly title: string;
  readonly scenarios: readonly ScenarioSpec[];
  /** Module files below `bench/` by contender name. A contender leaves out the scenarios it cannot do. */
  readonly contenders: Readonly<Record<string, string>>;
  /** The contenders that are ours: the ratio is theirs to the best of the others. */
  readonly ours: readonly string[];
  /** Contenders that are shown but are no peers: they bound what is possible, or break promises. */
  readonly notPeers?: readonly string[];
  /** A contender that would need longer for one run moves fewer messages in each. */
  readonly maxRunMs?: number;
}

export interface ContenderResult {
  readonly contender: string;
  /** Million messages a second, the median of the rounds. */
  readonly rate: number;
  /** How many messages one of its runs moved, when those of the scenario would take it too long. */
  readonly n?: number;
  /** CPU time per message, in ns, the median of the rounds. */
  readonly cpuNs: number;
  /** The rate as a ratio to the best peer's: the median of the ratios round by round. */
  readonly ratio?: number;
  readonly figures?: Readonly<Record<string, number>>;
  readonly error?: string;
}

export interface ScenarioResult {
  readonly scenario: string;
  readonly n: number;
  readonly results: readonly ContenderResult[];
}

interface Options {
  readonly json: boolean;
  readonly short: boolean;
  readonly rounds: number;
  readonly filters: readonly string[];
  readonly only: readonly string[];
  readonly cpu: boolean;
  readonly gc: boolean;
}

/** How many messages a contender moves before it is measured, at least. */
const WARM_UP = 1_000_000;
/** As many of the longest runs that are allowed do for that as well. */
const WARM_UP_RUNS = 6;
const FIRST_N = 1_000;

function parseArguments(args: readonly string[]): Options {
  const value = (name: string): string | undefined => {
    const given = args.find((arg) => arg.startsWith(`--${name}=`));
    return given?.slice(name.length + 3);
  };
  const short = args.includes('--short');
  return {
    json: args.includes('--json'),
    short,
    cpu: args.includes('--cpu'),
    gc: args.includes('--gc'),
    rounds: Number(value('rounds') ?? (short ? 3 : 9)),
    only: value('only')?.split(',') ?? [],
    filters: args.filter((arg) => !arg.startsWith('--')),
  };
}

/** Runs a comparison as the command line asks, and prints it. */
export async function compare(comparison: Comparison, args: readonly string[]): Promise<void> {
  const options = parseArguments(args);
  await installPeers();
  const names = Object.keys(comparison.contenders).filter(
    (name) => options.only.length === 0 || options.only.includes(name),
  );
  const [child, ...modules] = await bundle([
    benchFile('harness/child.ts'),
    ...names.map((name) => benchFile(comparison.contenders[name] as string)),
  ]);
  const all: ScenarioResult[] = [];
  for (const spec of comparison.scenarios) {
    if (options.filters.length > 0 && !options.filters.some((filter) => spec.name.includes(filter))) continue;
    const n = options.short ? Math.max(1_000, Math.round(spec.n / 4)) : spec.n;
    const limits = { ...options, maxRunMs: comparison.maxRunMs ?? Number.POSITIVE_INFINITY };
    const runs = await runScenario(spec, n, names, modules, child as string, limits);
    const result = { scenario: spec.name, n, results: summarise(runs, n, comparison, options.cpu) };
    all.push(result);
    if (!options.json) process.stdout.write(render(result, spec, comparison));
  }
  if (options.json) {
    const machine = { node: process.version, platform: process.platform, arch: process.arch };
    const by = options.cpu ? 'cpu' : 'wall';
    process.stdout.write(`${JSON.stringify({ title: comparison.title, machine, by, scenarios: all }, null, 2)}\n`);
  }
  if (all.some(({ results }) => results.some(({ error }) => error !== undefined))) process.exitCode = 1;
}

/** The runs of each contender; `n` is how many messages each of them moved. */
export type Runs = Map<string, (RunReport & { readonly n: number })[]>;

async function runScenario(
  spec: ScenarioSpec,
  n: number,
  names: readonly string[],
  modules: readonly string[],
  child: string,
  { rounds, gc, maxRunMs }: Options & { readonly maxRunMs: number },
): Promise<Runs> {
  const runs: Runs = new Map();
  const processes = new Map<string, { readonly contender: ChildProcess; readonly n: number }>();
  const run = async (name: string, contender: ChildProcess, n: number, isCounted: boolean): Promise<RunReport> => {
    const report = checked(await runOnce(contender, n, gc), spec, n);
    if (report.error !== undefined) {
      runs.set(name, [{ ...report, n }]);
      processes.delete(name);
      contender.kill();
    } else if (isCounted) runs.get(name)?.push({ ...report, n });
    return report;
  };
  try {
    for (const [index, name] of names.entries()) {
      const contender = fork(fileURLToPath(child), [modules[index] as string, spec.name], {
        execArgv: ['--expose-gc'],
      });
      if (!(await isReady(contender))) {
        contender.kill();
        continue;
      }
      runs.set(name, []);
      processes.set(name, { contender, n: await warmUp(n, maxRunMs, (count) => run(name, contender, count, false)) });
      if (runs.get(name)?.length !== 0) processes.delete(name);
    }
    for (let round = 0; round < rounds; round++) {
      for (const [name, { contender, n: share }] of processes) await run(name, contender, share, true);
    }
  } finally {
    for (const { contender } of processes.values()) contender.kill();
  }
  return runs;
}

/**
 * Warms a contender up, and finds out how many messages it can move in a run: those of the scenario, or as many as fit into the time. Some
 * need more time for each message the more there are, so the number grows step by step.
 */
async function warmUp(n: number, maxRunMs: number, run: (count: number) => Promise<RunReport>): Promise<number> {
  let count = maxRunMs === Number.POSITIVE_INFINITY ? n : Math.min(n, FIRST_N);
  const start = performance.now();
  for (let moved = 0; ; ) {
    const { ms, error } = await run(count);
    moved += count;
    if (error !== undefined || performance.now() - start > WARM_UP_RUNS * maxRunMs) return count;
    const hasTime = moved === count || ms < maxRunMs / 4;
    if (count < n && hasTime) count = Math.min(n, count * 4);
    else if (moved >= Math.max(WARM_UP, 2 * count)) return count;
  }
}

function isReady(contender: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    contender.once('message', (message: { ready?: boolean }) => resolve(message.ready === true));
    contender.once('close', () => resolve(false));
  });
}

function runOnce(contender: ChildProcess, n: number, gc: boolean): Promise<RunReport> {
  return new Promise((resolve) => {
    const failed = (error: string): void => resolve({ ms: 0, cpuMs: 0, count: 0, error });
    const limit = setTimeout(() => failed('no result after 30 s'), 30_000);
    const ended = (code: number | null, signal: string | null): void => failed(`ended (${signal ?? code})`);
    contender.once('close', ended);
    contender.once('message', (report: RunReport) => {
      clearTimeout(limit);
      contender.off('close', ended);
      resolve(report);
    });
    contender.send({ n, gc });
  });
}

/** Fails a report whose count or sum is not what the scenario promises. */
export function checked(report: RunReport, spec: ScenarioSpec, n: number): RunReport {
  if (report.error !== undefined) return report;
  const sum = spec.sum?.(n);
  if (report.count !== n) return { ...report, error: `count is ${report.count}, not ${n}` };
  if (sum !== undefined && report.sum !== sum) return { ...report, error: `sum is ${report.sum}, not ${sum}` };
  return report;
}

/** Medians, and ratios to the best peer. */
export function summarise(runs: Runs, n: number, comparison: Comparison, byCpu: boolean): ContenderResult[] {
  // Per message: not all moved the same number.
  const time = (report: RunReport & { readonly n: number }): number => (byCpu ? report.cpuMs : report.ms) / report.n;
  const valid = [...runs].filter(([, reports]) => reports.every(({ error }) => error === undefined));
  const outside = new Set([...comparison.ours, ...(comparison.notPeers ?? [])]);
  const peers = valid.filter(([name]) => !outside.has(name));
  const best = peers.sort(([, a], [, b]) => median(a.map(time)) - median(b.map(time)))[0]?.[1];
  const results: ContenderResult[] = [...runs].map(([contender, reports]) => {
    const error = reports.find((report) => report.error !== undefined)?.error;
    if (error !== undefined) return { contender, rate: 0, cpuNs: 0, error };
    const rate = 1 / median(reports.map(time)) / 1_000;
    const cpuNs = median(reports.map((report) => report.cpuMs / report.n)) * 1e6;
    const share = reports[0]?.n ?? n;
    const ratios = best?.map((peer, round) => time(peer) / time(reports[round] as (typeof reports)[number]));
    const names = Object.keys(reports[0]?.figures ?? {});
    const figures = Object.fromEntries(
      names.map((name) => [name, median(reports.map((report) => report.figures?.[name] ?? 0))]),
    );
    return {
      contender,
      rate,
      cpuNs,
      ...(share === n ? {} : { n: share }),
      ...(ratios === undefined ? {} : { ratio: median(ratios) }),
      ...(names.length === 0 ? {} : { figures }),
    };
  });
  return results.sort((a, b) => b.rate - a.rate);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function render(result: ScenarioResult, spec: ScenarioSpec, comparison: Comparison): string {
  const lines = [
    `\n${result.scenario}  (n = ${result.n}, million ${spec.unit ?? 'messages'}/s, ratio to the best peer)`,
  ];
  for (const { contender, rate, ratio, cpuNs, n, figures, error } of result.results) {
    const mark = comparison.ours.includes(contender) ? '*' : comparison.notPeers?.includes(contender) ? '-' : ' ';
    const name = `${mark} ${contender}`.padEnd(26);
    if (error !== undefined) {
      lines.push(`${name} failed: ${error.split('\n').slice(0, 3).join(' | ')}`);
      continue;
    }
    const share = n === undefined ? '' : `  (n = ${n})`;
    const shown = Object.entries(figures ?? {}).map(([key, figure]) => `${key} ${round(figure)}`);
    const ratioText = ratio === undefined ? '' : `${ratio.toFixed(2)}x`;
    lines.push(
      `${name} ${round(rate).padStart(8)} ${ratioText.padStart(8)}  cpu ${round(cpuNs)} ns  ${shown.join('  ')}${share}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
