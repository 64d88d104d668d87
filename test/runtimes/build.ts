/** Bundles the suites of the channels that need no Node into one module: `run()` runs them. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = path.join(here, '../..');

const SUITES = [
  'abort-in-wrappers',
  'arms-of-select',
  'bad-input',
  'broadcast',
  'budget',
  'cancellation',
  'compositions',
  'first-to-come',
  'join-set',
  'mpsc',
  'mpsc-permits',
  'notify',
  'once-cell',
  'one-source-many-arms',
  'oneshot',
  'select',
  'semaphore',
  'simulated-clock',
  'stream',
  'task-tracker',
  'time',
  'waits-of-tasks',
  'watch',
  'model/channel',
  'model/select',
  'port/conformance',
];

const plugin: Plugin = {
  name: 'as-shipped',
  setup(own) {
    own.onResolve({ filter: /^vitest$/ }, () => ({ path: path.join(here, 'shim/vitest.ts') }));
    own.onResolve({ filter: /^tinyrainbow$/ }, () => ({ path: path.join(here, 'shim/plain-colours.ts') }));
    own.onResolve({ filter: /^node:/ }, () => ({ path: path.join(here, 'shim/node.ts') }));
    // The tests name the sources, and run what ships.
    own.onResolve({ filter: /\/src\/.*\.js$/ }, ({ path: source, resolveDir }) => {
      const name = path.relative(path.join(root, 'src'), path.resolve(resolveDir, source));
      return name.startsWith('..') ? undefined : { path: path.join(root, 'dist', name) };
    });
  },
};

/** @returns The bundle's text. */
export async function bundleSuites(): Promise<string> {
  const entry = [
    "import { noCollection } from './shim/node.ts';",
    "import { webImmediate, webProcess } from './shim/process.ts';",
    "import { beginFile, run as runCases } from './shim/vitest.ts';",
    // Each suite is loaded after its name is known.
    ...SUITES.map((name, index) => `const suite${index} = () => import('../channels/${name}.test.ts');`),
    'export async function run() {',
    '  globalThis.process ??= webProcess;',
    '  globalThis.gc ??= noCollection;',
    '  globalThis.FinalizationRegistry ??= class { constructor() { noCollection(); } };',
    '  globalThis.setImmediate ??= webImmediate;',
    ...SUITES.map((name, index) => `  beginFile('${name}'); await suite${index}();`),
    '  return await runCases();',
    '}',
  ].join('\n');
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: here, loader: 'ts' },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    conditions: ['import', 'module', 'default'],
    splitting: false,
    plugins: [plugin],
    logLevel: 'warning',
    loader: { '.ts': 'ts' },
  });
  return outputFiles[0]?.text ?? '';
}
