/**
 * One option of the pool at a time, against the pool as it is: CPU time per image as a ratio, round by round.
 * `npm run bench -- tuning [--model mobilenet|vit|DIR] [--count=200] [--rounds=5] [--only=…] [--try='{"name": {"env": {…}}}'] [--json]`
 */
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type ImageEmbeddingPoolOptions, readModelFolder } from 'millrace/image-embedding';
import { optionOf } from '../harness/arguments.js';
import { benchFile, bundle } from '../harness/prepare.js';
import { Driver, type Measured } from '../embed/driver.js';
import { findImages, makeImages } from '../embed/images.js';
import { findModel } from '../embed/models.js';
import { median, percentile } from '../embed/report.js';

const BASE = 'as it is';

const VARIANTS: Readonly<Record<string, ImageEmbeddingPoolOptions>> = {
  [BASE]: {},
  'the same again': {},
  'UV_THREADPOOL_SIZE=1': { env: { ...process.env, UV_THREADPOOL_SIZE: '1' } },
  'UV_THREADPOOL_SIZE=2': { env: { ...process.env, UV_THREADPOOL_SIZE: '2' } },
  'UV_THREADPOOL_SIZE=4': { env: { ...process.env, UV_THREADPOOL_SIZE: '4' } },
  'MALLOC_ARENA_MAX=2': { env: { ...process.env, MALLOC_ARENA_MAX: '2' } },
  'MALLOC_ARENA_MAX=16, as without it': { env: { ...process.env, MALLOC_ARENA_MAX: '16' } },
  'VIPS_CONCURRENCY=1': { env: { ...process.env, VIPS_CONCURRENCY: '1' } },
  'VIPS_CONCURRENCY=2': { env: { ...process.env, VIPS_CONCURRENCY: '2' } },
  'heap grows as V8 would': { execArgv: ['--single-threaded-gc'] },
  'heap grows, young generation as V8 would': { execArgv: ['--single-threaded-gc', '--heap-growing-percent=400'] },
  'several collector threads': { execArgv: ['--heap-growing-percent=400', '--max-semi-space-size=1', '--expose-gc'] },
  'blocks over 1 MB in mappings': {
    env: { ...process.env, MALLOC_MMAP_THRESHOLD_: '1048576', MALLOC_TRIM_THRESHOLD_: '4194304' },
  },
  'batch 16': { maxBatch: 16 },
  'batch 4': { maxBatch: 4 },
};

/** Runs the benchmark. */
export async function run(args: string[]): Promise<void> {
  const isShort = args.includes('--short');
  const count = Number(optionOf(args, 'count') ?? (isShort ? 60 : 200));
  const rounds = Number(optionOf(args, 'rounds') ?? (isShort ? 2 : 5));
  const only = optionOf(args, 'only')?.split(',');
  const folder = path.resolve(await findModel(optionOf(args, 'model') ?? 'mobilenet'));
  const images = optionOf(args, 'images');
  const paths = images === undefined ? await makeImages(count) : await findImages(images, count);
  const tried = JSON.parse(optionOf(args, 'try') ?? '{}') as Record<string, ImageEmbeddingPoolOptions>;
  const chosen = Object.entries({ ...VARIANTS, ...tried }).filter(
    ([name]) => name === BASE || name in tried || only === undefined || only.some((each) => name.includes(each)),
  );
  const [module, child] = (await bundle(['embed/contenders/millrace.ts', 'embed/child.ts'].map(benchFile))) as [
    string,
    string,
  ];
  const cores = availableParallelism();
  const setup = {
    folder,
    spec: await readModelFolder(folder),
    cores,
    dist: pathToFileURL(path.join(path.dirname(benchFile('.')), 'dist/')).href,
  };
  const drivers: Driver[] = [];
  const runs = new Map<Driver, Measured[]>();
  const memory = new Map<Driver, number>();
  try {
    for (const [name, pool] of chosen) {
      const driver = await Driver.start(child, { name, module, create: 'pool', copies: 1 }, { ...setup, pool });
      drivers.push(driver);
      runs.set(driver, []);
      memory.set(driver, (await driver.watch({ paths })).pssMb);
    }
    for (let round = 0; round < rounds; round++) {
      // Each round begins with another, and every second one goes the other way about.
      const turned = drivers.map((_, at) => drivers[(at + round) % drivers.length] as Driver);
      for (const driver of round % 2 === 0 ? turned : turned.reverse())
        runs.get(driver)?.push(await driver.run({ paths }));
    }
  } finally {
    await Promise.all(drivers.map((driver) => driver.close()));
  }
  const base = runs.get(drivers[0] as Driver) as Measured[];
  const rows = drivers.map((driver) => {
    const own = runs.get(driver) as Measured[];
    return {
      name: driver.entry.name,
      cpuMsPerImage: median(own.map((each) => each.cpuMsPerImage)),
      leastCpuMs: Math.min(...own.map((each) => each.cpuMsPerImage)),
      cpuRatio: median(own.map((each, at) => each.cpuMsPerImage / (base[at] as Measured).cpuMsPerImage)),
      imagesPerSecond: median(own.map((each) => each.imagesPerSecond)),
      speedRatio: median(own.map((each, at) => each.imagesPerSecond / (base[at] as Measured).imagesPerSecond)),
      p50Ms: percentile(
        own.flatMap((each) => each.latencies),
        50,
      ),
      peakPssMb: memory.get(driver) as number,
      otherCores: median(own.map((each) => each.otherCores)),
    };
  });
  if (args.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ model: path.basename(folder), count, rounds, cores, rows }, null, 2)}\n`);
    return;
  }
  const lines = [
    ['', 'CPU ms/image', 'least', 'CPU ratio', 'images/s', 'speed ratio', 'p50 ms', 'PSS MB', 'other cores'],
    ['---', '---', '---', '---', '---', '---', '---', '---', '---'],
    ...rows.map((row) => [
      row.name,
      row.cpuMsPerImage.toFixed(2),
      row.leastCpuMs.toFixed(2),
      row.cpuRatio.toFixed(3),
      row.imagesPerSecond.toFixed(1),
      row.speedRatio.toFixed(3),
      row.p50Ms.toFixed(1),
      row.peakPssMb.toFixed(0),
      row.otherCores.toFixed(2),
    ]),
  ];
  process.stdout.write(`\n${path.basename(folder)}: ${count} images, ${rounds} rounds, ${cores} cores\n\n`);
  process.stdout.write(lines.map((line) => `| ${line.join(' | ')} |\n`).join(''));
}
