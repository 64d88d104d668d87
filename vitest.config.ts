import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { defineConfig, type Plugin } from 'vitest/config';
import { NotRunReporter } from './test/support/not-run-reporter.js';

const root = fileURLToPath(new URL('.', import.meta.url));

/**
 * Tests name the sources (`../../src/channels/index.js`) for the sake of types and editors, and run what ships: every import of `src/` is
 * answered from `dist/`. So a forked child, which cannot load TypeScript on Node 20, and the test beside it run the same files.
 */
const runWhatShips: Plugin = {
  name: 'run-what-ships',
  enforce: 'pre',
  async resolveId(source, importer) {
    if (importer === undefined) return null;
    // The benchmarks name the package, and have one of their own.
    const layer = /^millrace\/([a-z-]+)$/.exec(source)?.[1];
    if (layer !== undefined)
      return { id: pathToFileURL(path.join(root, 'dist', layer, 'index.js')).href, external: true };
    if (!source.startsWith('.')) return null;
    const target = path.resolve(path.dirname(importer.split('?')[0] as string), source);
    const inSources = path.relative(path.join(root, 'src'), target);
    if (inSources.startsWith('..')) return null;
    const built = path.join(root, 'dist', inSources).replace(/\.ts$/, '.js');
    return { id: pathToFileURL(built).href, external: true };
  },
};

export default defineConfig({
  plugins: [runWhatShips],
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    execArgv: ['--expose-gc'],
    reporters: ['default', new NotRunReporter()],
  },
});
