/**
 * Throughput and latency over the size of batches and over the time that a batch waits for company, for both models.
 * `npm run bench -- batching [--model mobilenet|vit] [--short] [--json]`; the chart goes to `bench/results/batching.svg`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { readModelFolder } from 'millrace/image-embedding';
import { Driver } from '../embed/driver.js';
import { makeImages } from '../embed/images.js';
import { findModel } from '../embed/models.js';
import { median, percentile } from '../embed/report.js';
import { optionOf } from '../harness/arguments.js';
import { benchFile, bundle } from '../harness/prepare.js';
import { type Curve, type Point, toSvg } from './chart.js';

const BATCHES = [1, 2, 4, 8, 16, 32];
const DELAYS = [0, 2, 5, 10, 20];
/** The batch size that delays are tried with. */
const DELAYED_BATCH = 8;

/** How many images a run has: the slower model needs fewer for as long a run. */
const COUNTS: Readonly<Record<string, number>> = { mobilenet: 200, vit: 64 };

/** Runs the benchmark. */
export async function run(args: string[]): Promise<void> {
  const isShort = args.includes('--short');
  const chosen = optionOf(args, 'model');
  const curves: Curve[] = [];
  for (const name of chosen === undefined ? Object.keys(COUNTS) : [chosen]) {
    const count = Math.ceil((COUNTS[name] ?? 64) / (isShort ? 4 : 1));
    curves.push(
      isShort
        ? await measure(name, count, 1, [1, DELAYED_BATCH, 2 * DELAYED_BATCH], [0, 10])
        : await measure(name, count, 3, BATCHES, DELAYS),
    );
  }
  if (args.includes('--json')) process.stdout.write(`${JSON.stringify(curves, null, 2)}\n`);
  else for (const curve of curves) process.stdout.write(toTable(curve));
  const results = benchFile('results');
  await mkdir(results, { recursive: true });
  await writeFile(path.join(results, 'batching.svg'), toSvg(curves));
}

async function measure(
  name: string,
  count: number,
  rounds: number,
  batches: readonly number[],
  delays: readonly number[],
): Promise<Curve> {
  const folder = path.resolve(await findModel(name));
  const paths = await makeImages(count);
  const [module, child] = (await bundle(['embed/contenders/millrace.ts', 'embed/child.ts'].map(benchFile))) as [
    string,
    string,
  ];
  const cores = availableParallelism();
  const dist = pathToFileURL(path.join(path.dirname(benchFile('.')), 'dist/')).href;
  const setup = { folder, spec: await readModelFolder(folder), cores, dist };
  const settings = [
    ...batches.map((maxBatch) => ({ maxBatch, maxDelayMs: 0 })),
    ...delays.slice(1).map((maxDelayMs) => ({ maxBatch: DELAYED_BATCH, maxDelayMs })),
  ];
  const drivers: Driver[] = [];
  const runs = settings.map((): { speed: number[]; cpu: number[]; latencies: number[] } => ({
    speed: [],
    cpu: [],
    latencies: [],
  }));
  try {
    for (const { maxBatch, maxDelayMs } of settings) {
      const entry = { name: `batch ${maxBatch}, ${maxDelayMs} ms`, module, create: 'pool', copies: 1 };
      const driver = await Driver.start(child, entry, { ...setup, pool: { maxBatch, maxDelayMs } });
      drivers.push(driver);
      await driver.run({ paths });
    }
    for (let round = 0; round < rounds; round++) {
      for (const [at, driver] of drivers.entries()) {
        // As many under way for each: what differs is the batching.
        const { imagesPerSecond, cpuMsPerImage } = await driver.run({ paths, lanes: 32 * cores });
        runs[at]?.speed.push(imagesPerSecond);
        runs[at]?.cpu.push(cpuMsPerImage);
      }
    }
    const rate = Math.max(...runs.map((each) => median(each.speed))) / 2;
    for (const [at, driver] of drivers.entries()) {
      runs[at]?.latencies.push(...(await driver.run({ paths, rate })).latencies);
    }
  } finally {
    await Promise.all(drivers.map((driver) => driver.close()));
  }
  const points = settings.map((each, at): Point => {
    const { speed, cpu, latencies } = runs[at] as (typeof runs)[number];
    return {
      ...each,
      imagesPerSecond: median(speed),
      cpuMsPerImage: median(cpu),
      p50Ms: percentile(latencies, 50),
      p99Ms: percentile(latencies, 99),
    };
  });
  return {
    model: path.basename(folder),
    byBatch: points.filter((point) => point.maxDelayMs === 0),
    byDelay: points.filter((point) => point.maxBatch === DELAYED_BATCH),
  };
}

function toTable({ model, byBatch, byDelay }: Curve): string {
  const rows = [...byBatch, ...byDelay.slice(1)].map((point) => [
    point.maxBatch,
    point.maxDelayMs,
    point.imagesPerSecond.toFixed(1),
    point.cpuMsPerImage.toFixed(2),
    point.p50Ms.toFixed(1),
    point.p99Ms.toFixed(1),
  ]);
  const lines = [
    ['batch', 'delay ms', 'images/s', 'CPU ms/image', 'p50 ms at half load', 'p99 ms at half load'],
    ['---', '---', '---', '---', '---', '---'],
    ...rows,
  ];
  return `\n${model}\n\n${lines.map((line) => `| ${line.join(' | ')} |\n`).join('')}`;
}
