/** Gets contenders ready to run: installs the peers, and bundles each contender for plain Node against the built package. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';

const bench = fileURLToPath(new URL('../', import.meta.url));
const root = path.dirname(bench);

/** Installs `bench/package-lock.json` into `bench/node_modules`, unless all of it is there. */
export async function installPeers(): Promise<void> {
  const { dependencies } = JSON.parse(readFileSync(path.join(bench, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  if (Object.keys(dependencies).every((name) => existsSync(path.join(bench, 'node_modules', name)))) return;
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
