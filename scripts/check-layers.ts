/**
 * Checks that imports point down only: core ← channels ← worker ← pool ← image-embedding ← cli. Run by `npm run layers`.
 *
 * Rules: a file imports its own layer or one below it; another layer is entered through its `index.ts`; core and channels use no Node API,
 * save `channels/stream/node.ts`; one file imports onnxruntime-node and one imports sharp.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { glob } from 'tinyglobby';

const LAYERS = ['core', 'channels', 'worker', 'pool', 'image-embedding', 'cli'] as const;
const PORTABLE = new Set<string>(['core', 'channels']);
const PORTABLE_EXCEPTIONS = new Set(['channels/stream/node.ts']);
const SINGLE_IMPORTERS = ['onnxruntime-node', 'sharp'];
const IMPORT = /(?:^|\n)\s*(?:import|export)\b(?:[^'";]*?\bfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;

export interface SourceFile {
  /** The path below `src/`, with forward slashes. */
  readonly name: string;
  readonly text: string;
}

/** The violations in a set of source files, one line each; none when the layers hold. */
export function findViolations(files: readonly SourceFile[]): string[] {
  const violations: string[] = [];
  const importers = new Map<string, string[]>();
  for (const { name, text } of files) {
    const layer = name.includes('/') ? name.slice(0, name.indexOf('/')) : 'root';
    const rank = layer === 'root' ? LAYERS.length : LAYERS.indexOf(layer as (typeof LAYERS)[number]);
    if (rank < 0) violations.push(`${name}: no such layer: ${layer}`);
    for (const match of withoutComments(text).matchAll(IMPORT)) {
      const specifier = match[1] ?? match[2] ?? '';
      for (const single of SINGLE_IMPORTERS) {
        if (specifier === single) importers.set(single, [...new Set([...(importers.get(single) ?? []), name])]);
      }
      if (!specifier.startsWith('.')) {
        if (PORTABLE.has(layer) && !PORTABLE_EXCEPTIONS.has(name) && specifier !== '@repeaterjs/repeater') {
          violations.push(`${name}: ${layer} uses no Node API and no other package, imports ${specifier}`);
        }
        continue;
      }
      const target = path.posix.normalize(path.posix.join(path.posix.dirname(name), specifier));
      const targetLayer = target.includes('/') ? target.slice(0, target.indexOf('/')) : 'root';
      if (targetLayer === layer || target.startsWith('..')) continue;
      const targetRank = LAYERS.indexOf(targetLayer as (typeof LAYERS)[number]);
      if (targetRank < 0 || targetRank > rank)
        violations.push(`${name}: ${layer} may not import ${targetLayer} (${specifier})`);
      else if (target !== `${targetLayer}/index.js`) {
        violations.push(`${name}: cross a layer through its index, imports ${specifier}`);
      }
    }
  }
  for (const [single, names] of importers) {
    if (names.length > 1) violations.push(`${single} is imported by one file only, imported by ${names.join(', ')}`);
  }
  return violations;
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

async function main(): Promise<void> {
  const root = fileURLToPath(new URL('../src/', import.meta.url));
  const names = (await glob('**/*.ts', { cwd: root })).sort();
  const files = await Promise.all(
    names.map(async (name) => ({ name, text: await readFile(path.join(root, name), 'utf8') })),
  );
  const violations = findViolations(files);
  for (const violation of violations) process.stderr.write(`${violation}\n`);
  process.stdout.write(`layers: ${files.length} files, ${violations.length} violations\n`);
  if (violations.length > 0) process.exitCode = 1;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
