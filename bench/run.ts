/**
 * `npm run bench -- <name> [options]` runs `bench/<name>/main.ts` or `bench/<name>.ts`, which export `run(args: string[])`; without a name all of
 * them, in a short form, and their tables go to `bench/results/latest.md`. `--list` names them.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runAll } from './harness/run-all.js';

const folder = fileURLToPath(new URL('.', import.meta.url));
const [name, ...args] = process.argv.slice(2);
const entry = name === undefined || !/^[\w-]+$/.test(name) ? undefined : entryOf(name);
if (name === undefined) {
  await runAll(benchmarks(), path.join(folder, 'results', 'latest.md'));
} else if (name === '--list') {
  process.stdout.write(`${benchmarks().join('\n')}\n`);
} else if (entry === undefined) {
  process.stderr.write(`usage: npm run bench -- <name> [options]\nbenchmarks: ${benchmarks().join(', ')}\n`);
  process.exitCode = 2;
} else {
  const { run } = (await import(pathToFileURL(entry).href)) as { run: (args: string[]) => Promise<void> };
  await run(args);
}

function entryOf(benchmark: string): string | undefined {
  const entries = [path.join(folder, benchmark, 'main.ts'), path.join(folder, `${benchmark}.ts`)];
  return entries.find((each) => existsSync(each));
}

function benchmarks(): string[] {
  const names = readdirSync(folder).map((each) => each.replace(/\.ts$/, ''));
  return [...new Set(names)]
    .filter((each) => each !== 'run' && each !== 'make-vit' && entryOf(each) !== undefined)
    .sort();
}
