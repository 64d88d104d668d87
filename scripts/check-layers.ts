/**
 * Checks that imports point down only. Run by `npm run layers`.
 *
 * - A file imports its own layer or one below it; another layer is entered through its `index.ts` (public) or its `internal.ts` (for sister
 *   layers).
 * - core and channels use no Node API, save `channels/stream/node.ts`.
 * - A package with native code, and one that only a part of the users has, is imported in one place.
 * - Inside a layer value imports form no circle; types may. The longest chain of imports, types included, has a limited number of floors.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { glob } from 'tinyglobby';

/** What a layer may import beside itself. */
const BELOW: Readonly<Record<string, readonly string[]>> = (() => {
  const pool = ['core', 'channels', 'worker'];
  const remote = [...pool, 'pool'];
  const image = [...remote, 'remote'];
  const cli = [...image, 'image-embedding', 'search', 'serve', 'nats'];
  return {
    core: [],
    channels: ['core'],
    worker: ['core', 'channels'],
    pool,
    remote,
    nats: image,
    'image-embedding': image,
    search: [...image, 'image-embedding'],
    serve: [...image, 'image-embedding', 'search'],
    otel: pool.concat('pool'),
    cli,
    root: [...cli, 'cli'],
  };
})();
const ENTRANCES = ['index.js', 'internal.js'];
const PORTABLE = new Set<string>(['core', 'channels']);
const PORTABLE_EXCEPTIONS = new Set(['channels/stream/node.ts']);
/** Packages that one file imports, or one folder. */
const SINGLE_IMPORTERS: readonly { readonly packages: RegExp; readonly name: string; readonly folder?: string }[] = [
  { packages: /^onnxruntime-node$/, name: 'onnxruntime-node' },
  { packages: /^sharp$/, name: 'sharp' },
  { packages: /^@huggingface\/tokenizers$/, name: '@huggingface/tokenizers' },
  { packages: /^@opentelemetry\//, name: '@opentelemetry/*', folder: 'otel/' },
  { packages: /^@nats-io\//, name: '@nats-io/*', folder: 'nats/' },
  { packages: /^(hono|@hono\/node-server)(\/|$)/, name: 'hono', folder: 'serve/' },
];
/** The most files that a chain of imports inside a layer may have. */
const MAX_FLOORS: Readonly<Record<string, number>> = { worker: 13 };

const IMPORT =
  /(?:^|\n)[ \t]*(import|export)\b(?<clause>[^'";]*?\bfrom\s*)?['"](?<from>[^'"]+)['"]|\bimport\(\s*['"](?<lazy>[^'"]+)['"]/g;

export interface SourceFile {
  /** The path below `src/`, with forward slashes. */
  readonly name: string;
  readonly text: string;
}

interface Import {
  readonly specifier: string;
  readonly kind: 'value' | 'type' | 'lazy';
}

/** The violations in a set of source files, one line each; none when the layers hold. */
export function findViolations(files: readonly SourceFile[]): string[] {
  const violations: string[] = [];
  const importers = new Map<string, Set<string>>();
  for (const { name, text } of files) {
    const layer = layerOf(name);
    const below = BELOW[layer];
    if (below === undefined) {
      violations.push(`${name}: no such layer: ${layer}`);
      continue;
    }
    for (const { specifier } of importsOf(text)) {
      for (const single of SINGLE_IMPORTERS) {
        if (!single.packages.test(specifier)) continue;
        if (single.folder !== undefined) {
          if (!name.startsWith(single.folder)) {
            violations.push(`${name}: ${single.name} is imported by ${single.folder} only`);
          }
        } else importers.set(single.name, (importers.get(single.name) ?? new Set()).add(name));
      }
      if (!specifier.startsWith('.')) {
        if (PORTABLE.has(layer) && !PORTABLE_EXCEPTIONS.has(name) && specifier !== '@repeaterjs/repeater') {
          violations.push(`${name}: ${layer} uses no Node API and no other package, imports ${specifier}`);
        }
        continue;
      }
      const target = targetOf(name, specifier);
      const targetLayer = layerOf(target);
      if (targetLayer === layer || target.startsWith('..')) continue;
      if (!below.includes(targetLayer)) {
        violations.push(`${name}: ${layer} may not import ${targetLayer} (${specifier})`);
      } else if (!ENTRANCES.some((entrance) => target === `${targetLayer}/${entrance}`)) {
        violations.push(`${name}: cross a layer through its index or internal, imports ${specifier}`);
      }
    }
  }
  for (const [single, names] of importers) {
    if (names.size > 1) violations.push(`${single} is imported by one file only, imported by ${[...names].join(', ')}`);
  }
  return violations;
}

/** The circles of value imports inside layers, each as a chain that ends where it began. */
export function findCircles(files: readonly SourceFile[]): string[] {
  const { knots, graph } = knotsOf(files, ['value']);
  return knots.filter((knot) => knot.length > 1).map((knot) => shortestCircle(knot, graph).join(' -> '));
}

/** By layer, the longest chain of imports inside it, types included: the files on the way down. A circle counts with all of its files. */
export function longestChains(files: readonly SourceFile[]): Map<string, string[]> {
  const { knots, graph } = knotsOf(files, ['value', 'type']);
  const chains = new Map<string, string[]>();
  const longest = new Map<string, string[]>();
  // A knot comes after all that it imports.
  for (const knot of knots) {
    let below: string[] = [];
    for (const name of knot) {
      for (const next of graph.get(name) ?? []) {
        const chain = knot.includes(next) ? [] : (chains.get(next) ?? []);
        if (chain.length > below.length) below = chain;
      }
    }
    const chain = [...knot, ...below];
    for (const name of knot) chains.set(name, chain);
    const layer = layerOf(knot[0] as string);
    if (chain.length > (longest.get(layer)?.length ?? 0)) longest.set(layer, chain);
  }
  return longest;
}

function layerOf(name: string): string {
  return name.includes('/') ? name.slice(0, name.indexOf('/')) : 'root';
}

function targetOf(name: string, specifier: string): string {
  return path.posix.normalize(path.posix.join(path.posix.dirname(name), specifier));
}

function importsOf(text: string): Import[] {
  const imports: Import[] = [];
  for (const { groups = {} } of withoutComments(text).matchAll(IMPORT)) {
    if (groups.lazy !== undefined) imports.push({ specifier: groups.lazy, kind: 'lazy' });
    else if (groups.from !== undefined) {
      imports.push({ specifier: groups.from, kind: /^\s+type\s+[{*\w]/.test(groups.clause ?? '') ? 'type' : 'value' });
    }
  }
  return imports;
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

type Graph = ReadonlyMap<string, readonly string[]>;

/** The imports inside layers, and their strongly connected components, each after those that it imports (Tarjan, 1972). */
function knotsOf(files: readonly SourceFile[], kinds: readonly Import['kind'][]): { knots: string[][]; graph: Graph } {
  const names = new Set(files.map(({ name }) => name));
  const graph = new Map<string, string[]>();
  for (const { name, text } of files) {
    const targets = importsOf(text)
      .filter(({ kind, specifier }) => kinds.includes(kind) && specifier.startsWith('.'))
      .map(({ specifier }) => targetOf(name, specifier).replace(/\.js$/, '.ts'))
      .filter((target) => names.has(target) && layerOf(target) === layerOf(name));
    graph.set(name, targets);
  }
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const trail: string[] = [];
  const knots: string[][] = [];
  const visit = (name: string): number => {
    const index = order.size;
    order.set(name, index);
    trail.push(name);
    let low = index;
    for (const next of graph.get(name) ?? []) {
      if (!order.has(next)) low = Math.min(low, visit(next));
      else if (trail.includes(next)) low = Math.min(low, lowest.get(next) ?? (order.get(next) as number));
    }
    lowest.set(name, low);
    if (low === index) knots.push(trail.splice(trail.indexOf(name)));
    return low;
  };
  for (const name of graph.keys()) if (!order.has(name)) visit(name);
  return { knots, graph };
}

function shortestCircle(knot: readonly string[], graph: Graph): string[] {
  const start = knot[0] as string;
  const queue: string[][] = [[start]];
  const seen = new Set<string>();
  for (const chain of queue) {
    for (const next of graph.get(chain.at(-1) as string) ?? []) {
      if (next === start) return [...chain, start];
      if (!knot.includes(next) || seen.has(next)) continue;
      seen.add(next);
      queue.push([...chain, next]);
    }
  }
  return [...knot];
}

async function main(): Promise<void> {
  const root = fileURLToPath(new URL('../src/', import.meta.url));
  const names = (await glob('**/*.ts', { cwd: root })).sort();
  const files = await Promise.all(
    names.map(async (name) => ({ name, text: await readFile(path.join(root, name), 'utf8') })),
  );
  const violations = findViolations(files);
  for (const circle of findCircles(files)) violations.push(`value imports form a circle: ${circle}`);
  const chains = longestChains(files);
  for (const [layer, max] of Object.entries(MAX_FLOORS)) {
    const chain = chains.get(layer) ?? [];
    if (chain.length > max) {
      violations.push(`${layer} has ${chain.length} floors, ${max} are allowed: ${chain.join(' -> ')}`);
    }
  }
  for (const violation of violations) process.stderr.write(`${violation}\n`);
  const floors = [...chains].map(([layer, chain]) => `${layer} ${chain.length}`).join(', ');
  process.stdout.write(`layers: ${files.length} files, ${violations.length} violations; floors: ${floors}\n`);
  if (violations.length > 0) process.exitCode = 1;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
