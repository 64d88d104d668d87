/** Bundles app.mjs into dist/app.mjs. The documented setting is `external`. */
import { build } from 'esbuild';

await build({
  entryPoints: ['app.mjs'],
  outfile: 'dist/app.mjs',
  bundle: true,
  minify: true,
  platform: 'node',
  format: 'esm',
  external: process.argv[2] === 'bundled' ? ['onnxruntime-node', 'sharp', 'prom-client'] : ['millrace'],
  // What is bundled of CommonJS asks for it.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
});
