/** Bundles app.mjs into dist/app.mjs. The documented setting is `externals`. */
import path from 'node:path';
import webpack from 'webpack';

const config = {
  mode: 'production',
  target: 'node20',
  context: import.meta.dirname ?? process.cwd(),
  entry: './app.mjs',
  experiments: { outputModule: true },
  output: { path: path.resolve('dist'), filename: 'app.mjs', module: true, chunkFormat: 'module' },
  externals: process.argv[2] === 'bundled' ? [/^(onnxruntime-node|sharp|prom-client)$/] : [/^millrace(\/|$)/],
  externalsType: 'module',
};
webpack(config, (error, stats) => {
  if (error !== null || stats.hasErrors()) {
    console.error(error ?? stats.toString('errors-only'));
    process.exitCode = 1;
  }
});
