/**
 * How long the first embedding takes, how long a large model takes to load plain and prepared, and what memory each further worker of it has
 * for itself. Linux only. `npm run bench -- startup [--short] [--json]`
 */
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { makeImages } from '../embed/images.js';
import { findModel } from '../embed/models.js';
import { median, percentile } from '../embed/report.js';
import { benchFile, bundle } from '../harness/prepare.js';
import type { StartupOrder } from './child.js';

/** Runs the benchmark. */
export async function run(args: string[]): Promise<void> {
  const rounds = args.includes('--short') ? 3 : 9;
  const [url] = (await bundle([benchFile('startup/child.ts')])) as [string];
  const dist = pathToFileURL(path.join(path.dirname(benchFile('.')), 'dist/')).href;
  const images = await makeImages(64);
  const [mobilenet, vit] = await Promise.all(['mobilenet', 'vit'].map(findModel));
  const order = async (given: Omit<StartupOrder, 'dist' | 'images'>): Promise<number> => {
    const text = await output(url, { ...given, dist, images });
    return Number(text);
  };
  const rows: [string, number[], string][] = [];
  const add = (name: string, unit: string) => {
    const values: number[] = [];
    rows.push([name, values, unit]);
    return values;
  };
  const cold = add('MobileNet, first embedding from a cold pool', 'ms');
  const coldSpare = add('MobileNet, the same with a spare host', 'ms');
  const plain = add('ViT-B/32, load in a fresh process, plain', 'ms');
  const prepared = add('ViT-B/32, load in a fresh process, prepared', 'ms');
  const workerPlain = add('ViT-B/32, worker ready, plain', 'ms');
  const workerPrepared = add('ViT-B/32, worker ready, prepared', 'ms');
  // It prepares the model, if nobody has.
  await order({ what: 'worker', folder: vit as string, prepare: true });
  for (let round = 0; round < rounds; round++) {
    cold.push(await order({ what: 'cold', folder: mobilenet as string, prepare: true }));
    coldSpare.push(await order({ what: 'cold-spare', folder: mobilenet as string, prepare: true }));
    plain.push(await order({ what: 'load', folder: vit as string, prepare: false }));
    prepared.push(await order({ what: 'load', folder: vit as string, prepare: true }));
    if (round % 3 !== 0) continue;
    workerPlain.push(await order({ what: 'worker', folder: vit as string, prepare: false }));
    workerPrepared.push(await order({ what: 'worker', folder: vit as string, prepare: true }));
  }
  const memory = add('ViT-B/32, private dirty memory of each worker after work, the largest', 'MB');
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    memory.push(await order({ what: 'memory', folder: vit as string, prepare: true }));
  }
  const ratio = median(plain.map((each, at) => (prepared[at] as number) / each));
  const report = {
    rows: rows.map(([name, values, unit]) => ({
      name,
      unit,
      median: percentile(values, 50),
      least: Math.min(...values),
      most: Math.max(...values),
    })),
    preparedOverPlain: ratio,
  };
  if (args.includes('--json')) {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return;
  }
  process.stdout.write(`\n|  | median | least | most |\n| --- | --- | --- | --- |\n`);
  for (const { name, unit, median: middle, least, most } of report.rows) {
    process.stdout.write(
      `| ${name} | ${[middle, least, most].map((each) => `${each.toFixed(0)} ${unit}`).join(' | ')} |\n`,
    );
  }
  process.stdout.write(`\nLoading prepared takes ${ratio.toFixed(2)} times as long as plain.\n`);
}

async function output(url: string, order: StartupOrder): Promise<string> {
  const child = spawn(process.execPath, [new URL(url).pathname, JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  if (order.what === 'memory') {
    // The child says `0` once its workers have worked, and waits to be looked at.
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const found = await privateMemory(child.pid as number);
    child.kill();
    await ended;
    return String(Math.max(...found));
  }
  const code = await ended;
  if (code !== 0) throw new Error(`The startup benchmark's child ended with ${String(code)}`);
  return text;
}

/** Private dirty memory of each process right below one, in MB. */
async function privateMemory(parent: number): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((each) => /^\d+$/.test(each))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) !== parent) continue;
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    found.push(Number(/^Private_Dirty:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024);
  }
  return found;
}
