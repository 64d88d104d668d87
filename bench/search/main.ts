/**
 * An index of 100,000 vectors of 512 numbers beside other stores: `npm run bench -- search [--short] [--rows=100000] [--only=a,b] [--json]`.
 * Then what the index costs beside searching: `--only=files` for that alone.
 */
import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { benchFile, bundle, installPeers } from '../harness/prepare.js';
import type { FilesReport } from './files.js';
import type { StoreReport } from './measure.js';

const STORES = ['millrace float32', 'millrace int8', 'plain loop', 'sqlite-vec'] as const;
const DIMENSION = 512;

/** Runs the benchmark, each store in a process of its own. */
export async function run(args: string[]): Promise<void> {
  const isShort = args.includes('--short');
  const option = (name: string): string | undefined =>
    args.find((each) => each.startsWith(`--${name}=`))?.split('=')[1];
  const rows = Number(option('rows') ?? (isShort ? 20_000 : 100_000));
  const only = option('only')?.split(',');
  const stores = STORES.filter((store) => only?.some((each) => store.includes(each)) ?? true);
  if (stores.includes('sqlite-vec')) await installPeers();
  await mkdir(benchFile('.build'), { recursive: true });
  const [url, peer, filesUrl] = await bundle([
    benchFile('search/measure.ts'),
    benchFile('search/peers/sqlite-vec.ts'),
    benchFile('search/files.ts'),
  ]);
  const reports: StoreReport[] = [];
  for (const store of stores) {
    const queries = store === 'plain loop' || store === 'sqlite-vec' ? 20 : 200;
    const call = `m.measure(${JSON.stringify(store)}, ${rows}, ${DIMENSION}, ${queries}, ${JSON.stringify(peer)})`;
    reports.push(await inChild<StoreReport>(call, url as string));
  }
  const wantsFiles = only?.includes('files') ?? true;
  const files = wantsFiles
    ? await inChild<FilesReport[]>(`m.measureFiles(${isShort ? 0.1 : 1})`, filesUrl as string)
    : [];
  if (args.includes('--json')) {
    process.stdout.write(`${JSON.stringify([...reports, ...files], undefined, 2)}\n`);
    return;
  }
  if (stores.length > 0) writeStores(reports, rows);
  if (files.length > 0) writeFiles(files);
}

function writeFiles(reports: readonly FilesReport[]): void {
  const lines = reports.map(
    ({ what, seconds, cpuSeconds, note }) =>
      `| ${what} | ${seconds.toFixed(1)} | ${cpuSeconds.toFixed(1)} | ${note} |\n`,
  );
  process.stdout.write(`\n| what | s | CPU s | |\n| --- | --- | --- | --- |\n${lines.join('')}`);
}

function writeStores(reports: readonly StoreReport[], rows: number): void {
  const header = `\n${rows} x ${DIMENSION}, the best 10\n\n| store | insert ms | open and first answer ms | p50 ms | p99 ms | recall | resident MB |\n| --- | --- | --- | --- | --- | --- | --- |\n`;
  const lines = reports.map(
    ({ store, insertMs, openMs, p50, p99, recall, rssMb }) =>
      `| ${store} | ${insertMs.toFixed(0)} | ${openMs.toFixed(0)} | ${p50.toFixed(1)} | ${p99.toFixed(1)} | ${recall.toFixed(3)} | ${rssMb.toFixed(0)} |\n`,
  );
  process.stdout.write(`${header}${lines.join('')}`);
}

async function inChild<T>(call: string, url: string): Promise<T> {
  const script = `import(${JSON.stringify(url)}).then((m) => ${call}).then((r) => process.stdout.write(JSON.stringify(r)))`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: fileURLToPath(new URL('.', url)),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`The search benchmark ended with ${code}`);
  return JSON.parse(text) as T;
}
