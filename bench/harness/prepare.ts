/** Gets contenders ready to run: installs the peers, and bundles each contender for plain Node against the built package. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';

const bench = fileURLToPath(new URL('../', import.meta.url));
const root = path.dirname(bench);

/** Installs `bench/package-lock.json` into `bench/node_modules`, unless it is there. */
export async function installPeers(): Promise<void> {
  if (existsSync(path.join(bench, 'node_modules', '.package-lock.json'))) return;
  process.stderr.write('installing the peers into bench/node_modules\n');
  const npm = spawn('npm', ['ci', '--no-audit', '--no-fund'], { cwd: bench, stdio: ['ignore', 'ignore', 'inherit'] });
  const code = await new Promise((resolve) => npm.on('close', resolve));
  if (code !== 0) throw new Error(`Cannot install the peers: npm ci in bench/ ended with ${code}`);
}

/** Lets `millrace/channels` mean the built package, and leaves every package out of the bundle. */
const runWhatShips: Plugin = {
  name: 'run-what-ships',
  setup({ onResolve }) {
    onResolve({ filter: /^millrace(\/|$)/ }, ({ path: specifier }) => {
      const layer = specifier.slice('millrace'.length);
      return { path: pathToFileURL(path.join(root, 'dist', layer, 'index.js')).href, external: true };
    });
  },
};

/**
 * Bundles entry points, so that what runs is plain JavaScript without a loader's hooks in it.
 *
 * @returns The URL of each bundle, in order.
 */
export async function bundle(entries: readonly string[]): Promise<string[]> {
  const outdir = path.join(bench, '.build');
  await build({
    entryPoints: [...entries],
    outdir,
    outbase: bench,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
    plugins: [runWhatShips],
  });
  return entries.map((entry) => {
    const name = path.relative(bench, entry).replace(/\.ts$/, '.mjs');
    return pathToFileURL(path.join(outdir, name)).href;
  });
}

/** The absolute path of a file below `bench/`. */
export function benchFile(name: string): string {
  return path.join(bench, name);
}
