import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));

/** An application that was bundled into one file, and what it prints. */
const APP = `
  import { createImageEmbeddingPool } from 'millrace/image-embedding';
  import { mpsc } from 'millrace/channels';
  import { operation, spawnWorker } from 'millrace/worker';
  const say = (text) => process.stdout.write(text + '\\n');
  const failed = (error) => error.code + ': ' + error.message;
  const main = async () => {
    const [tx, rx] = mpsc.channel(1);
    await tx.send('channels');
    say((await rx.recv()).value);
    const module = 'data:text/javascript,export default () => ({ echo: (input) => input })';
    for (const host of ['thread', 'process']) {
      const worker = spawnWorker({ host, operations: { echo: operation() }, module });
      say(await worker.call('echo', host).catch(failed));
      await worker.destroy();
    }
    const pool = createImageEmbeddingPool({ workers: { max: 1 } });
    const embedding = pool.embedImage(process.env.PICTURE);
    say(await embedding.then(({ length }) => 'embedded ' + length, failed));
    await pool.close();
  };
  main();`;

let folder: string;
let bundles: Record<'esm' | 'cjs', string>;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'millrace bundled '));
  const source = path.join(folder, 'source');
  await mkdir(path.join(source, 'node_modules'), { recursive: true });
  await symlink(root, path.join(source, 'node_modules', 'millrace'), 'junction');
  await writeFile(path.join(source, 'app.mjs'), APP);
  const bundle = async (format: 'esm' | 'cjs'): Promise<string> => {
    const outfile = path.join(folder, format, format === 'esm' ? 'app.mjs' : 'app.cjs');
    const external = ['onnxruntime-node', 'sharp', 'prom-client'];
    await build({
      entryPoints: [path.join(source, 'app.mjs')],
      outfile,
      bundle: true,
      minify: true,
      platform: 'node',
      format,
      external,
      logLevel: 'silent',
      logOverride: { 'empty-import-meta': 'silent' },
    });
    return outfile;
  };
  bundles = { esm: await bundle('esm'), cjs: await bundle('cjs') };
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function runBundle(file: string): Promise<string[]> {
  const env = { ...process.env, PICTURE: path.join(root, 'examples', 'photos', 'cat-1.jpg') };
  const { stdout } = await run(process.execPath, [file], { env, cwd: folder });
  return stdout.trim().split('\n');
}

for (const format of ['esm', 'cjs'] as const) {
  test(`an application bundled into one file (${format}) says that millrace must stay external, or be installed beside it`, async () => {
    const [channels, ...others] = await runBundle(bundles[format]);
    expect(channels).toBe('channels');
    expect(others).toHaveLength(3);
    for (const line of others) {
      expect(line).toContain('millrace was bundled');
      expect(line).toContain('keep it external');
      expect(line).toContain("serverExternalPackages: ['millrace']");
    }
    const modules = path.join(path.dirname(bundles[format]), 'node_modules');
    await mkdir(modules);
    await symlink(root, path.join(modules, 'millrace'), 'junction');
    expect(await runBundle(bundles[format])).toEqual(['channels', 'thread', 'process', 'embedded 256']);
  });
}
