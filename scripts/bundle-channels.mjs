// Writes dist/channels.js: the channels and their bridge over ports in one file, for browsers without a bundler. Run by `npm run build`.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

await build({
  stdin: {
    contents: "export * from './channels/index.js'; export * from './channels/port/index.js';",
    resolveDir: fileURLToPath(new URL('../dist', import.meta.url)),
  },
  outfile: fileURLToPath(new URL('../dist/channels.js', import.meta.url)),
  banner: { js: '/*! millrace/channels and millrace/channels/port. MIT licence. */' },
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
});
