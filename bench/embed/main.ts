/**
 * Embedding images by this pool, by what users write themselves, and by its parts alone.
 * `npm run bench -- embed [--images DIR] [--model DIR] [--count=200] [--rounds=3] [--short] [--only=…] [--json]`
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { readModelFolder } from 'millrace/image-embedding';
import { optionOf } from '../harness/arguments.js';
import { benchFile, bundle, installPeers } from '../harness/prepare.js';
import { toSvg } from './chart.js';
import type { Setup } from './contender.js';
import { Driver, type Entry, type Measured } from './driver.js';
import { findImages, makeImages } from './images.js';
import { findModel } from './models.js';
import type { TreeMemory } from './process-tree.js';
import { median, type ModelReport, percentile, toRow, toTable } from './report.js';

const root = path.dirname(benchFile('.'));
const OURS = 'millrace';

const MODULES = {
  millrace: 'embed/contenders/millrace.ts',
  loop: 'embed/contenders/loop.ts',
  parts: 'embed/contenders/parts.ts',
  piscina: 'embed/peers/piscina.ts',
  transformers: 'embed/peers/transformers.ts',
} as const;

interface Choice {
  readonly module: keyof typeof MODULES;
  readonly create: string;
  /** A part of the work, run as one process per core. */
  readonly isPart?: boolean;
  /** Flags of its processes; none by default. */
  readonly execArgv?: readonly string[];
}

const CHOICES: Readonly<Record<string, Choice>> = {
  [OURS]: { module: 'millrace', create: 'pool' },
  'the loop': { module: 'loop', create: 'one' },
  'the loop, 8 at a time': { module: 'loop', create: 'eight' },
  'piscina threads': { module: 'piscina', create: 'threads' },
  'transformers.js': { module: 'transformers', create: 'one' },
  'transformers.js, batches of 8': { module: 'transformers', create: 'eight' },
  'decode, ours': { module: 'parts', create: 'decode', isPart: true },
  'decode, ours, as in a worker': {
    module: 'parts',
    create: 'decode',
    isPart: true,
    execArgv: ['--single-threaded-gc'],
  },
  'decode, plain': { module: 'parts', create: 'plainDecode', isPart: true },
  'infer 1': { module: 'parts', create: 'infer1', isPart: true },
  'infer 8': { module: 'parts', create: 'infer8', isPart: true },
  'infer 16': { module: 'parts', create: 'infer16', isPart: true },
};

interface Options {
  readonly count: number;
  readonly rounds: number;
  readonly only: readonly string[] | undefined;
  readonly images: readonly string[];
  readonly cores: number;
}

/** Runs the benchmark. */
export async function run(args: string[]): Promise<void> {
  const value = (name: string) => optionOf(args, name);
  const isShort = args.includes('--short');
  const count = Number(value('count') ?? (isShort ? 60 : 200));
  const folder = value('images');
  const images = folder === undefined ? await makeImages(count) : await findImages(folder, count);
  if (images.length === 0) throw new Error(`Cannot run bench: there are no images in ${folder}`);
  const options: Options = {
    count,
    rounds: Number(value('rounds') ?? (isShort ? 1 : 3)),
    only: value('only')?.split(','),
    images,
    cores: availableParallelism(),
  };
  await installPeers();
  const model = value('model');
  const names = model === undefined || model === 'all' ? ['mobilenet', 'vit'] : [model];
  const models = await Promise.all(names.map(findModel));
  const reports: ModelReport[] = [];
  for (const each of models) {
    const report = await measure(path.resolve(each), options);
    reports.push(report);
    if (!args.includes('--json')) process.stdout.write(toTable(report));
  }
  if (args.includes('--json')) process.stdout.write(`${JSON.stringify(reports, null, 2)}\n`);
  const results = benchFile('results');
  await mkdir(results, { recursive: true });
  await writeFile(path.join(results, 'embed.svg'), toSvg(reports));
}

async function measure(folder: string, options: Options): Promise<ModelReport> {
  const { cores, images, rounds } = options;
  const setup: Setup = {
    folder,
    spec: await readModelFolder(folder),
    cores,
    dist: pathToFileURL(path.join(root, 'dist/')).href,
  };
  const names = Object.keys(CHOICES).filter(
    (name) =>
      options.only === undefined || CHOICES[name]?.isPart === true || options.only.some((only) => name.includes(only)),
  );
  const start = await starter(setup, cores);
  const drivers: Driver[] = [];
  try {
    for (const name of names) drivers.push(await start(name));
    const both = await start('both');
    drivers.push(both);
    const memory = new Map<string, TreeMemory>();
    const runs = new Map<string, Measured[]>();
    const contenders = drivers.filter((driver) => driver !== both);
    for (const driver of contenders) {
      progress(`${driver.entry.name}: warming up`);
      memory.set(driver.entry.name, await driver.watch({ paths: images }));
    }
    for (let round = 0; round < rounds; round++) {
      for (const driver of shuffled(contenders, round + 1)) {
        progress(`${driver.entry.name}: round ${round + 1} of ${rounds}`);
        const measured = await driver.run({ paths: images });
        runs.set(driver.entry.name, [...(runs.get(driver.entry.name) ?? []), measured]);
      }
    }
    const cpu = (name: string) => median((runs.get(name) ?? []).map((each) => each.cpuMsPerImage));
    const decodeCpuMs = cpu('decode, ours');
    const [inferBatch, inferCpuMs] = [1, 8, 16]
      .map((batch) => [batch, cpu(`infer ${batch}`)] as const)
      .reduce((best, each) => (each[1] < best[1] ? each : best));
    const cpuMs = decodeCpuMs + inferCpuMs;
    const limit = (1000 * cores) / cpuMs;
    const ours = runs.get(OURS)?.[0]?.first ?? [];
    const rows = contenders.map(({ entry, startMs }) =>
      toRow(
        { name: entry.name, isPart: CHOICES[entry.name]?.isPart === true, startMs },
        runs.get(entry.name) ?? [],
        memory.get(entry.name) as TreeMemory,
        { limit, cpuMs },
        ours,
      ),
    );
    const pool = contenders.find(({ entry }) => entry.name === OURS);
    const light = pool === undefined ? {} : await lightLoad(pool, both, options, rows[0]?.imagesPerSecond ?? limit);
    const model = path.basename(folder);
    return { model, images: images.length, rounds, cores, decodeCpuMs, inferCpuMs, inferBatch, limit, rows, light };
  } finally {
    await Promise.all(drivers.map((driver) => driver.close()));
  }
}

/**
 * Another order in each round, the same in each run. A processor is faster for seconds after it had little to do, so that who always comes after
 * the same contender would have its luck.
 */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  let state = seed * 16_807;
  const keyed = items.map((item) => {
    state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647;
    return { item, key: state };
  });
  return keyed.sort((one, other) => one.key - other.key).map(({ item }) => item);
}

/** How often the pool and the one process take turns with images that come alone. */
const SINGLE_TURNS = 5;

/** How often the images come at half of the capacity, unless that takes longer than so many seconds: p99 of 200 is but the second longest. */
const HALF_LOAD_TURNS = 5;
const HALF_LOAD_SECONDS = 20;

/** Latency when there is room: one image at a time, in the pool and in one process by hand, and arrivals at half of what the pool can do. */
async function lightLoad(
  pool: Driver,
  both: Driver,
  { images }: Options,
  imagesPerSecond: number,
): Promise<ModelReport['light']> {
  const measured = new Map<Driver, number[]>([both, pool].map((driver) => [driver, []]));
  progress('one at a time');
  const step = Math.ceil(images.length / SINGLE_TURNS);
  for (let turn = 0; turn <= SINGLE_TURNS; turn++) {
    for (const [driver, all] of measured) {
      const from = (turn % SINGLE_TURNS) * step;
      const { latencies } = await driver.run({ paths: images.slice(from, from + step), lanes: 1, batch: 1 });
      // The first turn is for getting used to images that come alone.
      if (turn > 0) all.push(...latencies);
    }
  }
  progress('half of the capacity');
  const rate = imagesPerSecond / 2;
  const turns = Math.max(1, Math.min(HALF_LOAD_TURNS, Math.round((HALF_LOAD_SECONDS * rate) / images.length)));
  const { latencies } = await pool.run({ paths: Array.from({ length: turns }, () => images).flat(), rate });
  const summary = (each: readonly number[]) => ({ p50Ms: percentile(each, 50), p99Ms: percentile(each, 99) });
  return {
    'one at a time, in one process': summary(measured.get(both) as number[]),
    'one at a time, the pool': summary(measured.get(pool) as number[]),
    'half of the capacity, the pool': summary(latencies),
  };
}

async function starter(setup: Setup, cores: number): Promise<(name: string) => Promise<Driver>> {
  const modules = Object.keys(MODULES) as (keyof typeof MODULES)[];
  const files = [...modules.map((each) => MODULES[each]), 'embed/child.ts', 'embed/peers/piscina-task.ts'];
  const urls = await bundle(files.map(benchFile));
  const childUrl = urls[modules.length] as string;
  return async (name) => {
    progress(`${name}: starting`);
    const { module, create, isPart, execArgv }: Choice = CHOICES[name] ?? {
      module: 'parts',
      create: name,
      isPart: false,
    };
    const url = urls[modules.indexOf(module)] as string;
    const entry: Entry = { name, module: url, create, copies: isPart === true ? cores : 1, execArgv };
    return Driver.start(childUrl, entry, setup);
  };
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}
