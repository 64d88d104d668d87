/** What the index costs beside searching: passing unchanged files, indexing beside `embed`, finding duplicates. */
import { spawn } from 'node:child_process';
import { appendFile, copyFile, link, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createImageEmbeddingPool, identifyModel } from 'millrace/image-embedding';
import { createIndex, openIndex } from 'millrace/search';
import { makeCorpus } from './vectors.js';

/** One line of the table. */
export interface FilesReport {
  readonly what: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly note: string;
}

// Of the bundle, in `.build/search`.
const root = fileURLToPath(new URL('../../../', import.meta.url));
const PHOTOS = path.join(root, 'examples/photos');

/** Runs all three. */
export async function measureFiles(scale: number): Promise<FilesReport[]> {
  return [
    await unchanged(100_000 * scale),
    ...(await indexing(Math.round(1_100 * scale))),
    await duplicates(20_000 * scale, 'float32'),
    await duplicates(20_000 * scale, 'int8'),
  ];
}

interface Timed {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly stderr: string;
}

/** Runs the built command; the shell says how much CPU time it and its children used. */
async function command(args: readonly string[], cwd: string): Promise<Timed> {
  const began = performance.now();
  const script = `"$@"; code=$?; times >&2; exit $code`;
  const child = spawn('bash', ['-c', script, 'bash', process.execPath, path.join(root, 'dist/cli/main.js'), ...args], {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += String(chunk);
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`millrace ${args.join(' ')} ended with ${code}: ${stderr}`);
  const [user = 0, system = 0] = [...(stderr.trim().split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, seconds]) => 60 * Number(minutes) + Number(seconds),
  );
  return { seconds: (performance.now() - began) / 1000, cpuSeconds: user + system, stderr };
}

/** A second run over files that have not changed. */
async function unchanged(count: number): Promise<FilesReport> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-unchanged-'));
  try {
    const pool = createImageEmbeddingPool({ workers: { max: 1 } });
    const model = await identifyModel(await pool.describe(), { preprocess: 'fast', normalize: true });
    await pool.close();
    const index = await createIndex(path.join(folder, 'photos.idx'), { dimension: model.dimensions, model });
    const { rows } = makeCorpus(1_000, model.dimensions, 100, 0);
    for (let from = 0; from < count; from += 1_000) {
      const below = path.join(folder, 'photos', String(from));
      await mkdir(below, { recursive: true });
      const names = Array.from({ length: 1_000 }, (_, at) => path.join(below, `IMG_${from + at}.jpg`));
      const [first, ...others] = names as [string, ...string[]];
      await copyFile(path.join(PHOTOS, 'clock.jpg'), first);
      const { size, mtimeMs } = await stat(first);
      await Promise.all(others.map((name) => link(first, name)));
      await index.add(
        names.map((name, at) => ({
          path: name,
          size,
          mtime: mtimeMs,
          hash: String(from + at).padStart(32, '0'),
          vector: rows.subarray(at * model.dimensions, (at + 1) * model.dimensions),
        })),
      );
    }
    await index.close();
    const { seconds, cpuSeconds, stderr } = await command(['index', 'photos', '--index', 'photos.idx'], folder);
    const [said = ''] = /\d+ embedded, \d+ unchanged/.exec(stderr) ?? [];
    if (said !== `0 embedded, ${count} unchanged`) throw new Error(`the run says ${stderr}`);
    return { what: `${count} unchanged files`, seconds, cpuSeconds, note: said };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The same pictures by `embed` and by `index`, in turn. */
async function indexing(count: number): Promise<FilesReport[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-indexing-'));
  try {
    await mkdir(path.join(folder, 'photos'));
    const names = (await readdir(PHOTOS)).filter((name) => name.endsWith('.jpg'));
    for (let at = 0; at < count; at++) {
      const target = path.join(folder, 'photos', `${at}.jpg`);
      await copyFile(path.join(PHOTOS, names[at % names.length] as string), target);
      // Another content, which no picture of the index has.
      await appendFile(target, `copy ${at}`);
    }
    const runs = { embed: [] as Timed[], index: [] as Timed[] };
    for (let turn = 0; turn < 3; turn++) {
      await rm(path.join(folder, 'photos.idx'), { recursive: true, force: true });
      runs.embed.push(await command(['embed', 'photos', '--workers', '2', '--out', `${turn}.npy`], folder));
      runs.index.push(await command(['index', 'photos', '--workers', '2', '--index', 'photos.idx'], folder));
    }
    const best = (timed: readonly Timed[]): Timed =>
      timed.reduce((one, two) => (two.seconds < one.seconds ? two : one));
    const [embed, index] = [best(runs.embed), best(runs.index)];
    const share = (100 * embed.seconds) / index.seconds;
    const cpu = (100 * embed.cpuSeconds) / index.cpuSeconds;
    return [
      { what: `${count} pictures by embed`, ...embed, note: `${(count / embed.seconds).toFixed(0)} images/s` },
      {
        what: `${count} pictures by index`,
        ...index,
        note: `${(count / index.seconds).toFixed(0)} images/s, ${share.toFixed(0)} % of embed, ${cpu.toFixed(0)} % by CPU time`,
      },
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** All pairs. */
async function duplicates(count: number, precision: 'float32' | 'int8'): Promise<FilesReport> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-duplicates-'));
  try {
    const dimension = 512;
    const { rows } = makeCorpus(count, dimension, 2_000, 0);
    const place = path.join(folder, 'photos.idx');
    const index = await createIndex(place, { dimension });
    for (let from = 0; from < count; from += 1_000) {
      await index.add(
        Array.from({ length: Math.min(1_000, count - from) }, (_, at) => ({
          path: `/photos/${from + at}.jpg`,
          // Every hundredth picture is there twice.
          vector: rows.subarray(
            (from + at - ((from + at) % 100 === 1 ? 1 : 0)) * dimension,
            (from + at + 1 - ((from + at) % 100 === 1 ? 1 : 0)) * dimension,
          ),
        })),
      );
    }
    await index.close();
    const reader = await openIndex(place, { precision });
    const used = process.cpuUsage();
    const began = performance.now();
    const groups = await reader.duplicates();
    const seconds = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(used);
    await reader.close();
    if (groups.length !== count / 100) throw new Error(`${groups.length} groups, expected ${count / 100}`);
    const what = `duplicates of ${count} x ${dimension}, ${precision}`;
    return { what, seconds, cpuSeconds: (user + system) / 1e6, note: `${groups.length} groups` };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
