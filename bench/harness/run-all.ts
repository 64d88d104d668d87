/** All benchmarks one after another, in a short form, into one page. */
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import path from 'node:path';
import { benchFile } from './prepare.js';

/** What each is told so that all of them together take less than ten minutes on two quiet cores. */
const SHORT: Readonly<Record<string, readonly string[]>> = {
  channels: ['--short', '--rounds=1', 'for-await', 'rpc/1', 'select/ready', 'create'],
  worker: ['--short', '--rounds=1', 'rpc/16', 'moved'],
  pool: ['--short', '--rounds=1'],
  embed: ['--short', '--count=40'],
  tuning: ['--short', '--count=40', '--rounds=1'],
  batching: ['--short'],
};

/** A benchmark that takes longer is ended, and the page says so. */
const LONGEST_MS = 150_000;

/** Runs benchmarks by their names, and writes the page. */
export async function runAll(names: readonly string[], file: string): Promise<void> {
  const root = path.dirname(benchFile('.'));
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as { version: string };
  const load = loadavg().map((each) => each.toFixed(1));
  const parts = [
    '# Benchmarks, in their short form\n',
    `Written by \`npm run bench\`: millrace ${version}, Node ${process.version}, ${availableParallelism()} cores of ${cpus()[0]?.model ?? 'unknown'}; load of the machine before ${load.join(', ')}. Short runs: \`npm run bench -- <name>\` measures properly.\n`,
  ];
  for (const name of names) {
    process.stderr.write(`${name}\n`);
    const began = performance.now();
    const { text, isWhole } = await output(root, name, SHORT[name] ?? ['--short']);
    const seconds = Math.round((performance.now() - began) / 1000);
    parts.push(`## ${name}\n`, `${seconds} s${isWhole ? '' : '; it failed or was ended early'}\n`, `${text.trim()}\n`);
    process.stdout.write(`\n## ${name}\n\n${text.trim()}\n`);
    if (!isWhole) process.exitCode = 1;
    // What there is so far stays when the rest is interrupted.
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, parts.join('\n'));
  }
}

async function output(
  root: string,
  name: string,
  args: readonly string[],
): Promise<{ readonly text: string; readonly isWhole: boolean }> {
  const child = spawn(process.execPath, ['--import', 'tsx', path.join(root, 'bench/run.ts'), name, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    // What it has started goes with it.
    detached: true,
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const timer = setTimeout(() => process.kill(-(child.pid as number), 'SIGKILL'), LONGEST_MS);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  return { text, isWhole: code === 0 };
}
