/** From runs to figures, and to a table. */
import type { Measured } from './driver.js';
import type { TreeMemory } from './process-tree.js';

/** The figures of one contender for one model. */
export interface Row {
  readonly name: string;
  readonly isPart: boolean;
  readonly imagesPerSecond: number;
  readonly cpuMsPerImage: number;
  /** Images per second over the limit. */
  readonly efficiency: number;
  /** CPU per image over that of the two parts. */
  readonly cpuRatio: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly delayP99Ms: number;
  readonly peakPssMb: number;
  /** Private dirty memory of each process below the caller's. */
  readonly privateMb: readonly number[];
  readonly startMs: number;
  /** The cosine of its vector of the first image with that of the pool. */
  readonly agrees: number | undefined;
  /** How many cores other work used meanwhile: the wall clock figures are worth less the more it is. */
  readonly otherCores: number;
}

/** The figures of one model. */
export interface ModelReport {
  readonly model: string;
  readonly images: number;
  readonly rounds: number;
  readonly cores: number;
  readonly decodeCpuMs: number;
  readonly inferCpuMs: number;
  readonly inferBatch: number;
  readonly limit: number;
  readonly rows: readonly Row[];
  /** One image at a time, and arrivals at half of the capacity; latency in ms. */
  readonly light: Readonly<Record<string, { readonly p50Ms: number; readonly p99Ms: number }>>;
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

/** What the parts say is possible. */
export interface Limit {
  readonly limit: number;
  readonly cpuMs: number;
}

/** Sums up the rounds of a contender. */
export function toRow(
  entry: { readonly name: string; readonly isPart: boolean; readonly startMs: number },
  runs: readonly Measured[],
  memory: TreeMemory,
  { limit, cpuMs }: Limit,
  ours: readonly number[],
): Row {
  const of = (pick: (run: Measured) => number) => median(runs.map(pick));
  const latencies = runs.flatMap((run) => run.latencies);
  const imagesPerSecond = of((run) => run.imagesPerSecond);
  const cpuMsPerImage = of((run) => run.cpuMsPerImage);
  return {
    ...entry,
    imagesPerSecond,
    cpuMsPerImage,
    efficiency: imagesPerSecond / limit,
    cpuRatio: cpuMsPerImage / cpuMs,
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
    delayP99Ms: of((run) => run.delayP99),
    peakPssMb: memory.pssMb,
    privateMb: memory.privateMb,
    agrees: cosine(runs[0]?.first ?? [], ours),
    otherCores: of((run) => run.otherCores),
  };
}

function cosine(one: readonly number[], other: readonly number[]): number | undefined {
  if (one.length === 0 || one.length !== other.length) return undefined;
  return one.reduce((sum, each, index) => sum + each * (other[index] as number), 0);
}

/** A model's figures as Markdown. */
export function toTable(report: ModelReport): string {
  const { model, images, rounds, cores, decodeCpuMs, inferCpuMs, inferBatch, limit } = report;
  const columns = [
    '',
    'images/s',
    'of the limit',
    'CPU ms/image',
    'CPU ratio',
    'p50 ms',
    'p99 ms',
    'loop delay p99 ms',
    'PSS MB',
    'agrees',
    'other cores',
  ];
  const lines = [
    `\n${model}: ${images} images, ${rounds} rounds, ${cores} cores. Decode ${decodeCpuMs.toFixed(2)} ms, inference ${inferCpuMs.toFixed(2)} ms (batch ${inferBatch}): limit ${limit.toFixed(1)} images/s\n`,
    columns,
    columns.map(() => '---'),
    ...report.rows.map((row) => [
      row.name,
      row.imagesPerSecond.toFixed(1),
      row.isPart ? '' : row.efficiency.toFixed(2),
      row.cpuMsPerImage.toFixed(2),
      row.isPart ? '' : row.cpuRatio.toFixed(2),
      row.p50Ms.toFixed(1),
      row.p99Ms.toFixed(1),
      row.delayP99Ms.toFixed(1),
      row.peakPssMb.toFixed(0),
      row.agrees?.toFixed(4) ?? '',
      row.otherCores.toFixed(2),
    ]),
  ];
  const light = Object.entries(report.light).map(
    ([name, { p50Ms, p99Ms }]) => `${name}: p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms\n`,
  );
  const table = lines.map((line) => (typeof line === 'string' ? `${line}\n` : `| ${line.join(' | ')} |\n`));
  return [...table, '\n', ...light].join('');
}
