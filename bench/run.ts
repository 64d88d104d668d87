/**
 * `npm run bench -- <name> [options]`: runs `bench/<name>/main.ts` or `bench/<name>.ts`. What it runs exports `run(args: string[])`.
 */
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import path from 'node:path';

const folder = fileURLToPath(new URL('.', import.meta.url));
const [name, ...args] = process.argv.slice(2);
const entry = name === undefined || !/^[\w-]+$/.test(name) ? undefined : entryOf(name);
if (entry === undefined) {
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
  return [...new Set(names)].filter((each) => each !== 'run' && entryOf(each) !== undefined).sort();
}
