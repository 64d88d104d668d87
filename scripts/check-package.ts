/**
 * Checks the package as it would be published. Run by `npm run package`: packs it, then asks publint and arethetypeswrong about the
 * tarball, weighs it, and bundles what a user of the channels alone would import.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const MAX_TARBALL_BYTES = 4_000_000;
// As it lies in node_modules, without the packages it depends on; the half of it is sources and maps.
const MAX_UNPACKED_BYTES = 12_000_000;
// What an app that uses select and mpsc takes of them: under 8 KB.
const MAX_CHANNELS_BYTES = 8_192;

const run = promisify(execFile);
const root = fileURLToPath(new URL('../', import.meta.url));
const problems: string[] = [];
const folder = await mkdtemp(path.join(tmpdir(), 'millrace-package-'));
try {
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
  });
  const [packed] = JSON.parse(stdout) as { filename: string; unpackedSize: number; files: { path: string }[] }[];
  if (packed === undefined) throw new Error('npm pack made no tarball');
  const tarball = path.join(folder, packed.filename);

  const { size } = await stat(tarball);
  if (size > MAX_TARBALL_BYTES) problems.push(`the tarball has ${size} bytes, ${MAX_TARBALL_BYTES} are allowed`);
  const { unpackedSize } = packed;
  if (unpackedSize > MAX_UNPACKED_BYTES) {
    problems.push(`the package has ${unpackedSize} bytes unpacked, ${MAX_UNPACKED_BYTES} are allowed`);
  }
  const expected = [
    'dist/cli/main.js',
    'dist/index.d.ts',
    'dist/image-embedding/kernels/kernels.wasm',
    'models/mobilenet-v1-0.25/onnx/model.onnx',
    'README.md',
    'LICENSE',
  ];
  const names = new Set(packed.files.map((file) => file.path));
  for (const name of expected) if (!names.has(name)) problems.push(`the tarball lacks ${name}`);

  const lint = await publint({ pkgDir: root, strict: true, pack: 'npm' });
  for (const message of lint.messages) problems.push(`publint: ${formatMessage(message, lint.pkg) ?? message.code}`);

  const attw = path.join(root, 'node_modules', '.bin', 'attw');
  await run(attw, [tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-color']).catch(
    (error: { stdout?: string }) => {
      problems.push(`arethetypeswrong:\n${error.stdout ?? String(error)}`);
    },
  );

  const channels = await bundledSize("export { mpsc, select } from './dist/channels/index.js';");
  if (channels > MAX_CHANNELS_BYTES) {
    problems.push(
      `select and mpsc take ${channels} bytes bundled, minified and gzipped, ${MAX_CHANNELS_BYTES} are allowed`,
    );
  }
  process.stdout.write(
    `package: ${packed.files.length} files, ${size} bytes, ${unpackedSize} unpacked; select + mpsc: ${channels} bytes min+gz\n`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
for (const problem of problems) process.stderr.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;

/** What a bundler makes of an entry, minified and gzipped, in bytes. */
async function bundledSize(contents: string): Promise<number> {
  const result = await build({
    stdin: { contents, resolveDir: root, loader: 'js' },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    logLevel: 'silent',
  });
  return gzipSync(result.outputFiles[0]?.contents ?? new Uint8Array(), { level: 9 }).length;
}
