/**
 * Runs the examples of the documentation against the built package. Run by `npm run doc-examples [part of a file name]…`.
 *
 * Examples are the fenced `ts` blocks below `@example` in `src/`, and every `ts` block of `README.md` and `docs/*.md`. Each is a module of its
 * own that may use every export of its own layer and those below without importing it; a block marked `ts no-run` is only type checked. The
 * rules for `// => value` and `// throws Name` are in `doc-examples/transform.ts`.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { glob } from 'tinyglobby';
import { checkExamples } from './doc-examples/check.js';
import { type Example, extractFromMarkdown, extractFromSource } from './doc-examples/extract.js';
import type { ImportTable } from './doc-examples/transform.js';

const LAYERS = ['core', 'channels', 'worker', 'pool', 'remote', 'image-embedding', 'search', 'serve', 'nats', 'cli'];
const root = fileURLToPath(new URL('../', import.meta.url));

const sources = new Map<string, string>();
const examples: Example[] = [];
const filters = process.argv.slice(2);
for (const file of (await glob(['src/**/*.ts', 'README.md', 'docs/*.md'], { cwd: root })).sort()) {
  const text = await readFile(path.join(root, file), 'utf8');
  sources.set(file, text);
  if (filters.length > 0 && !filters.some((filter) => file.includes(filter))) continue;
  examples.push(...(file.endsWith('.md') ? extractFromMarkdown(file, text) : extractFromSource(file, text)));
}

const tables = new Map<string, ImportTable>();
const failures = await checkExamples(examples, { importsFor });
for (const failure of failures) process.stderr.write(`${failure}\n`);
const run = examples.filter((example) => example.run).length;
process.stdout.write(
  `doc examples: ${run} run, ${examples.length - run} type checked only, ${failures.length} failures\n`,
);
if (failures.length > 0) process.exitCode = 1;

function importsFor(file: string): ImportTable {
  const table = tables.get(file) ?? buildTable(file);
  tables.set(file, table);
  return table;
}

function buildTable(file: string): ImportTable {
  const table = new Map<string, string>();
  const layer = file.startsWith('src/') ? (file.split('/')[1] as string) : '';
  const top = LAYERS.indexOf(layer) < 0 ? LAYERS.length - 1 : LAYERS.indexOf(layer);
  for (let rank = top; rank >= 0; rank--) {
    const index = `src/${LAYERS[rank]}/index.ts`;
    for (const name of exportedNames(sources.get(index) ?? '')) {
      if (!table.has(name)) table.set(name, built(index));
    }
  }
  if (layer !== '') {
    for (const name of exportedNames(sources.get(file) ?? '')) if (!table.has(name)) table.set(name, built(file));
  }
  return table;
}

function built(file: string): string {
  return file.replace(/^src\//, 'dist/').replace(/\.ts$/, '.js');
}

function exportedNames(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '');
  const names: string[] = [];
  for (const [, list = ''] of code.matchAll(/export\s+(?:type\s+)?\{([^}]*)\}/g)) {
    for (const item of list.split(',')) {
      const name = item
        .trim()
        .replace(/^type\s+/, '')
        .split(/\s+as\s+/)
        .at(-1);
      if (name !== undefined && name !== '') names.push(name);
    }
  }
  for (const [, name] of code.matchAll(/export\s+\*\s+as\s+([\w$]+)/g)) names.push(name as string);
  const declared =
    /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:function\*?|class|const|let|interface|type)\s+([A-Za-z_$][\w$]*)/gm;
  for (const [, name] of code.matchAll(declared)) names.push(name as string);
  return names;
}
