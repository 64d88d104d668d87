import { mkdir, mkdtemp, open, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { parquetReadObjects } from 'hyparquet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testModelFiles, testModels, writeTestModel } from '../../scripts/make-test-models.js';
import { OnnxBuilder } from '../../scripts/onnx/onnx-builder.js';
import { type LocalHub, startLocalHub } from '../image-embedding/hub/local-hub.js';
import { tempFolder } from '../support/temp-folder.js';
import { PHOTOS, readRecords, runCli } from './cli-process.js';

const NAME = 'millrace/tiny-clip';
const photo = path.join(PHOTOS, 'cat-1.jpg');
const at = tempFolder('models ü');
let hub: LocalHub;
let env: Record<string, string>;

beforeAll(async () => {
  hub = await startLocalHub(NAME, testModelFiles(testModels[0] as (typeof testModels)[number]));
  env = { HF_ENDPOINT: hub.endpoint, HF_HOME: at('home'), HF_HUB_OFFLINE: '' };
});
afterAll(async () => {
  await hub.close();
});

describe('millrace, with a model of the hub', { timeout: 60_000 }, () => {
  test('downloads it by its name, describes it, embeds with it, and lists it', async () => {
    const inspected = await runCli(['inspect', NAME, '--json'], { env });
    expect(inspected).toMatchObject({ code: 0, stderr: '' });
    const { family, dimension } = JSON.parse(inspected.stdout) as { family: string; dimension: number };
    expect(family).toMatch(/clip/);
    const out = at('hub.jsonl');
    // Offline by now: the cache is enough.
    const offline = { ...env, HF_HUB_OFFLINE: '1' };
    expect(await runCli(['embed', photo, '--model', NAME, '--out', out], { env: offline })).toMatchObject({ code: 0 });
    expect(await readRecords(out)).toMatchObject([{ path: photo, embedding: { length: dimension } }]);
    expect((await runCli(['models'], { env })).stdout).toContain(NAME);
  });

  test('brings it ahead of its first use', async () => {
    const other = { ...env, HF_HOME: at('prepared'), XDG_CACHE_HOME: at('cache') };
    const prepared = await runCli(['prepare', NAME], { env: other });
    expect(prepared).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/vision_model\.onnx\nprepared +no: a small model/),
    });
    expect((await runCli(['models'], { env: other })).stdout).toContain(NAME);
    expect(await runCli(['prepare', 'millrace/none'], { env: other })).toMatchObject({ code: 2 });
  });

  test('prepares a large one, holds it against its digests, and makes it again when it differs', async () => {
    const model = await writeTestModel('tiny-clip', await mkdtemp(at('large ')));
    const builder = new OnnxBuilder();
    builder.input('pixel_values', 'float32', ['batch', 3, 32, 32]);
    const weight = builder.externalWeight('weight', [3, 1_400_000], 'weights.raw');
    const flat = builder.node('Flatten', [builder.node('GlobalAveragePool', ['pixel_values'])], { axis: 1 });
    builder.node('MatMul', [flat, weight], {}, 'image_embeds');
    builder.output('image_embeds', 'float32', ['batch', 1_400_000]);
    await writeFile(path.join(model, 'onnx', 'vision_model.onnx'), builder.build({ name: 'large', doc: '' }));
    await writeFile(
      path.join(model, 'onnx', 'weights.raw'),
      new Uint8Array(new Float32Array(3 * 1_400_000).fill(0.5).buffer),
    );
    const prepare = (...more: string[]) =>
      runCli(['prepare', model, ...more], { env: { XDG_CACHE_HOME: at('prepared ü') } });
    const first = await prepare();
    expect(first).toMatchObject({ code: 0, stderr: '' });
    const [, made = ''] = /^prepared {6}(.*) \(\d+ MB\)$/m.exec(first.stdout) ?? [];
    expect(made.startsWith(at('prepared ü', 'millrace', 'prepared'))).toBe(true);
    expect((await prepare('--verify')).stdout).toMatch(/^verified {6}yes$/m);

    const weights = path.join(made, 'weights.bin');
    const { atime, mtime } = await stat(weights);
    const file = await open(weights, 'r+');
    await file.write(Buffer.of(1, 2, 3), 0, 3, 5_000_000);
    await file.close();
    await utimes(weights, atime, mtime);
    expect(await prepare()).toEqual(first);
    expect((await prepare('--verify')).stdout).toContain('did not match their digests, and were made again');
    expect((await prepare('--verify')).stdout).toMatch(/^verified {6}yes$/m);
  });

  test('says that it could not prepare one, and why', async () => {
    await mkdir(at('large'));
    const model = await writeTestModel('tiny-clip', at('large'));
    await truncate(path.join(model, 'onnx', 'vision_model.onnx'), 16_000_000);
    await writeFile(at('file'), '');
    const ended = await runCli(['prepare', model], { env: { XDG_CACHE_HOME: at('file') } });
    expect(ended).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('prepared      no: it is loaded as it is'),
      stderr: expect.stringContaining('could not be prepared and is loaded as it is: Error: ENOTDIR'),
    });
  });

  test('says that there is no such model', async () => {
    const ended = await runCli(['inspect', 'millrace/none'], { env });
    expect(ended.stderr).toMatch(/^millrace: ERR_MODEL_\w+: /);
    expect(ended.code).toBe(2);
  });

  test('takes every name that millrace models prints, and knows which was meant by another', async () => {
    const offline = { ...env, HF_HUB_OFFLINE: '1' };
    await runCli(['prepare', NAME], { env });
    const { stdout } = await runCli(['models'], { env: offline });
    const names = stdout
      .split('\n')
      .slice(2)
      .map((line) => line.split(' ')[0] ?? '')
      .filter((name) => name !== '' && name !== 'cache');
    expect(names).toEqual(['mobilenet-v1-0.25', NAME]);
    for (const name of names) expect(await runCli(['inspect', name], { env: offline })).toMatchObject({ code: 0 });
    for (const [given, meant] of [
      ['millrace/tiny-clpi', NAME],
      ['mobilenet-v1', 'mobilenet-v1-0.25'],
    ] as const) {
      const ended = await runCli(['embed', photo, '--model', given, '--out', at('x.jsonl')], {
        env: offline,
      });
      expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining(`did you mean '${meant}'?`) });
    }
  });

  test('refuses to continue an output with a model of another dimension', async () => {
    const out = at('other.jsonl');
    await runCli(['embed', photo, '--model', NAME, '--out', out], { env });
    const before = await readFile(out, 'utf8');
    const ended = await runCli(['embed', PHOTOS, '--out', out, '--resume']);
    expect(ended.stderr).toMatch(/the output holds vectors of \d+ dimensions, this model gives 256/);
    expect(ended.code).toBe(2);
    expect(await readFile(out, 'utf8')).toBe(before);
  });
});

test('millrace embed takes paths and URLs on standard input, and writes NumPy and Parquet', async () => {
  const bytes = await readFile(photo);
  const server = createServer((_request, response) => response.end(bytes));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/cat`;
    const stdin = `${photo}\n${url}\n`;
    const npy = at('v.npy');
    const parquet = at('v.parquet');
    for (const out of [npy, parquet]) {
      const ended = await runCli(['embed', '-', '--allow-private-urls', '--out', out], { stdin });
      expect(ended).toMatchObject({ code: 0 });
    }
    const array = await readFile(npy);
    expect(array.toString('latin1', 10, 128)).toContain("'shape': (2, 256)");
    expect(array.subarray(128, 128 + 1024)).toEqual(array.subarray(128 + 1024));
    const file = await readFile(parquet);
    const rows = await parquetReadObjects({ file: file.buffer.slice(file.byteOffset, file.byteOffset + file.length) });
    expect(rows.map((row) => row.path)).toEqual([photo, url]);
    expect(rows[0]?.embedding).toEqual(rows[1]?.embedding);
  } finally {
    server.close();
  }
}, 60_000);
