import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { testModelFiles, testModels, writeTestModel } from '../../../scripts/make-test-models.js';
import {
  BatchError,
  createImageEmbeddingPool,
  type ImageEmbeddingPool,
  type ImageEmbeddingPoolOptions,
  readModelFolder,
  similarity,
} from '../../../src/image-embedding/index.js';
import type { SessionOptions } from '../../../src/image-embedding/inference/session.js';
import type { WorkerModelOptions } from '../../../src/image-embedding/pipeline/worker-model.js';
import { availableCores, MemoryGovernor } from '../../../src/pool/index.js';
import type { InternalPoolOptions, WorkerStart } from '../../../src/pool/internal.js';
import { startLocalHub } from '../hub/local-hub.js';
import { createDirectPool } from './direct-pool.js';

const photos = fileURLToPath(new URL('../../../examples/photos/', import.meta.url));
const photo = (name: string) => path.join(photos, `${name}.jpg`);

let below: string;
const open: ImageEmbeddingPool[] = [];

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-facade-'));
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((pool) => pool.close()));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

function direct(options?: ImageEmbeddingPoolOptions) {
  const made = createDirectPool(options);
  open.push(made.pool);
  return made;
}

function furthest(one: Float32Array, other: Float32Array): number {
  expect(one).toHaveLength(other.length);
  return one.reduce((most, value, index) => Math.max(most, Math.abs(value - (other[index] as number))), 0);
}

const length = (vector: Float32Array) => Math.hypot(...vector);

describe('ImageEmbeddingPool', () => {
  test('.embedImages() finds the nearest of each example photograph that has another view of the same thing', async () => {
    const { pool } = direct();
    const names: string[] = [];
    const vectors: Float32Array[] = [];
    for await (const { input, embedding } of pool.embedImages(photos)) {
      names.push(path.basename(input, '.jpg'));
      vectors.push(embedding as Float32Array);
    }
    expect(names.length).toBeGreaterThanOrEqual(12);
    const nearest = names.map((_, index) => {
      const others = vectors.map((each, other) =>
        other === index ? -1 : similarity(each, vectors[index] as Float32Array),
      );
      return names[others.indexOf(Math.max(...others))] as string;
    });
    const paired = names.filter((name) => /-[12]$/.test(name));
    expect(paired.length).toBeGreaterThanOrEqual(12);
    for (const [index, name] of names.entries()) {
      if (paired.includes(name))
        expect(`${name}: ${nearest[index]}`).toBe(`${name}: ${name.replace(/[12]$/, (n) => (n === '1' ? '2' : '1'))}`);
    }
  });

  test('gives the same numbers from path, URL, base64, data URL and bytes, of length 1', async () => {
    const { pool } = direct({ limits: { url: { allowPrivateAddresses: true } } });
    const bytes = await readFile(photo('cat-1'));
    const server = createServer((_, response) => response.end(bytes)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/cat.jpg`;
    const fromPath = await pool.embedImage(photo('cat-1'));
    expect(fromPath).toHaveLength(256);
    expect(length(fromPath)).toBeCloseTo(1, 6);
    const base64 = bytes.toString('base64');
    for (const other of [
      await pool.embedImageBase64(base64),
      await pool.embedImageBase64(`data:image/jpeg;base64,${base64}`),
      await pool.embedImageBytes(bytes),
      await pool.embedImageUrl(url),
      await pool.embedImageUrl(new URL(url)),
    ]) {
      expect(furthest(fromPath, other)).toBeLessThan(1e-5);
    }
    server.close();
  });

  test('.batchEmbedImages() gives what single calls give, whatever the batch', async () => {
    const { pool } = direct({ maxBatch: 8 });
    const paths = (await readdir(photos))
      .filter((each) => each.endsWith('.jpg'))
      .map((each) => path.join(photos, each));
    const batch = await pool.batchEmbedImages([...paths, ...paths.slice(0, 3)]);
    expect(batch).toHaveLength(paths.length + 3);
    for (const [index, file] of paths.entries()) {
      expect(furthest(batch[index] as Float32Array, await pool.embedImage(file))).toBeLessThan(1e-5);
    }
    expect(await pool.batchEmbedImages([])).toEqual([]);
  });

  test('.batchEmbedImages() is all or nothing, with an error that names each bad image, unless it settles', async () => {
    const { pool } = direct({ maxBatch: 2 });
    const text = path.join(below, 'text.jpg');
    await writeFile(text, 'not a picture');
    const paths = [photo('cat-1'), '/no/such/image.jpg', photo('cat-2'), text];
    const failed = await pool.batchEmbedImages(paths).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(BatchError);
    const error = failed as BatchError;
    expect(error).toMatchObject({ code: 'ERR_BATCH_FAILED', fault: 'caller', indexes: [1, 3] });
    expect(error.failures.map((each) => [each.index, each.input, (each.error as { code?: string }).code])).toEqual([
      [1, paths[1], 'ERR_IMAGE_NOT_FOUND'],
      [3, text, 'ERR_IMAGE_UNSUPPORTED'],
    ]);
    const settled = await pool.batchEmbedImages(paths, { settle: true });
    expect(settled.map((each) => each.embedding?.length)).toEqual([256, undefined, 256, undefined]);
    expect(settled[1]?.error).toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND', name: 'ImageNotFoundError' });
  });

  test('.embedImages() takes paths, URLs and bytes, and answers bad ones beside the others', async () => {
    const { pool } = direct();
    const bytes = await readFile(photo('coffee-1'));
    const source = [photo('coffee-1'), bytes, '/no/such/image.jpg', new URL('http://127.0.0.1:9/private.jpg')];
    const results = [];
    for await (const each of pool.embedImages(source)) results.push(each);
    expect(results.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(furthest(results[0]?.embedding as Float32Array, results[1]?.embedding as Float32Array)).toBeLessThan(1e-5);
    expect(results[2]?.error).toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND' });
    expect(results[3]?.error).toMatchObject({ code: 'ERR_URL_FORBIDDEN' });
  });

  test('.describe() answers one who asked when another gives up', async () => {
    const { pool, calls } = direct();
    await pool.embedImage(photo('cat-1'));
    const controller = new AbortController();
    const asked = [pool.describe(undefined, { signal: controller.signal }), pool.describe()] as const;
    // While the worker is asked for both.
    calls.push = () => {
      controller.abort(new Error('enough'));
      return 0;
    };
    await expect(asked[0]).rejects.toThrow('enough');
    expect((await asked[1]).dimension).toBe(256);
  });

  test('.describe() and .warm() refuse what they do not know', async () => {
    const { pool } = direct();
    await expect(pool.warm({ worker: 1 } as never)).rejects.toThrow("unknown option 'worker'");
    await expect(pool.warm({ workers: 0 })).rejects.toBeInstanceOf(RangeError);
    await expect(pool.warm({ model: 5 as never })).rejects.toBeInstanceOf(TypeError);
    await expect(pool.describe(5 as never)).rejects.toThrow('Cannot describe model: model must be');
    await expect(pool.describe(undefined, { signal: 5 as never })).rejects.toBeInstanceOf(TypeError);
    await expect(pool.describe(undefined, { timeoutMs: 5 } as never)).rejects.toThrow("unknown option 'timeoutMs'");
  });

  test('.embedImages() of a folder that is none ends with a coded error', async () => {
    const { pool } = direct();
    const results = pool.embedImages(path.join(below, 'nowhere'));
    await expect(results.next()).rejects.toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND' });
  });

  test('runs identical images in flight once, and gives each caller its own vector', async () => {
    const { pool, calls } = direct();
    const bytes = await readFile(photo('clock'));
    const all = await Promise.all([1, 2, 3].map(() => pool.embedImageBytes(bytes)));
    expect(calls.filter(({ operation }) => operation === 'embedImageBytes')).toHaveLength(1);
    (all[0] as Float32Array).fill(0);
    expect(length(all[1] as Float32Array)).toBeCloseTo(1, 6);
    await Promise.all([pool.embedImage(photo('clock'), { normalize: false }), pool.embedImage(photo('clock'))]);
    const { pool: apart, calls: separate } = direct({ coalesce: false });
    await Promise.all([1, 2].map(() => apart.embedImageBytes(bytes)));
    expect(separate).toHaveLength(2);
  });

  test('leaves the length alone with normalize: false', async () => {
    const { pool } = direct();
    const raw = await pool.embedImage(photo('cat-1'), { normalize: false });
    expect(length(raw)).toBeGreaterThan(2);
    expect(similarity(raw, await pool.embedImage(photo('cat-1')))).toBeCloseTo(1, 6);
  });

  test('cuts the embedding for a model that was trained for it, and for no other', async () => {
    const folder = await writeTestModel('tiny-clip', below);
    const spec = await readModelFolder(folder);
    const { pool } = direct({ model: { ...spec, dimensions: [16, 8] } });
    expect(await pool.embeddingDimension()).toBe(24);
    expect(await pool.supportedDimensions()).toEqual([24, 16, 8]);
    const short = await pool.embedImage(photo('cat-1'), { dimensions: 8 });
    expect(short).toHaveLength(8);
    expect(length(short)).toBeCloseTo(1, 6);
    await expect(pool.embedImage(photo('cat-1'), { dimensions: 12 })).rejects.toThrow(
      'dimensions must be one of 24, 16, 8',
    );
    const { pool: plain } = direct();
    await expect(plain.embedImage(photo('cat-1'), { dimensions: 128 })).rejects.toThrow(RangeError);
  });

  test.each(testModels.map(({ name }) => name))('runs %s from its folder', async (name) => {
    const { pool } = direct({ model: await writeTestModel(name, below) });
    const [one, other] = await pool.batchEmbedImages([photo('cat-1'), photo('rocket-1')]);
    expect(one).toHaveLength(await pool.embeddingDimension());
    expect(similarity(one as Float32Array, other as Float32Array)).toBeLessThan(0.9999);
  });

  test('serves several models, by the names they were given or by where they are', async () => {
    const vit = await writeTestModel('tiny-vit', below);
    const { pool } = direct({ models: { clip: await writeTestModel('tiny-clip', below) } });
    const lengths = [{}, { model: 'clip' }, { model: vit }, { model: 'default' }].map(
      async (options) => (await pool.embedImage(photo('cat-1'), options)).length,
    );
    expect(await Promise.all(lengths)).toEqual([256, 24, 32, 256]);
    expect(Object.keys(pool.health().models)).toEqual(expect.arrayContaining(['default', 'clip', vit]));
  });

  test.each(['tiny-clip', 'tiny-siglip', 'tiny-dinov2', 'tiny-vit'])(
    'brings %s from the hub by its name, once',
    async (name) => {
      const model = testModels.find((each) => each.name === name) as (typeof testModels)[number];
      await using hub = await startLocalHub(`millrace/${name}`, testModelFiles(model));
      const hubOptions = { endpoint: hub.endpoint, cacheDir: path.join(below, 'hub'), offline: false };
      const { pool } = direct({ model: `millrace/${name}`, hub: hubOptions });
      const [one] = await Promise.all([pool.embedImage(photo('cat-1')), pool.embedImage(photo('cat-2'))]);
      expect((await pool.describe()).name).toBe(`millrace/${name}`);
      expect(hub.requests.filter((each) => each.includes('/resolve/'))).toHaveLength(3);
      const { pool: fromFolder } = direct({ model: await writeTestModel(name, below) });
      expect(furthest(await fromFolder.embedImage(photo('cat-1')), one as Float32Array)).toBeLessThan(1e-6);
      const { pool: offline } = direct({ model: `millrace/${name}`, hub: { ...hubOptions, offline: true } });
      expect(furthest(await offline.embedImage(photo('cat-1')), one as Float32Array)).toBeLessThan(1e-6);
      const { pool: missing } = direct({ model: 'millrace/other', hub: { ...hubOptions, offline: true } });
      await expect(missing.embedImage(photo('cat-1'))).rejects.toMatchObject({ code: 'ERR_MODEL_OFFLINE' });
    },
  );

  test('waits for a download no longer than the deadline of the call, and lets it go on', async () => {
    const model = testModels.find((each) => each.name === 'tiny-vit') as (typeof testModels)[number];
    await using hub = await startLocalHub('millrace/slow', testModelFiles(model));
    hub.faults.set('onnx/model.onnx', ['stall']);
    const hubOptions = {
      endpoint: hub.endpoint,
      cacheDir: path.join(below, 'slow'),
      offline: false,
      stallTimeoutMs: 2_000,
    };
    const { pool } = direct({ model: 'millrace/slow', hub: hubOptions });
    const late = pool.embedImage(photo('cat-1'), { timeoutMs: 100 });
    await expect(late).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
    expect(await pool.embedImage(photo('cat-1'))).toHaveLength(32);
  });

  test('answers a folder without a model, and tries again once there is one', async () => {
    const folder = path.join(below, 'later', 'tiny-vit');
    const { pool } = direct({ model: folder });
    await expect(pool.embedImage(photo('cat-1'))).rejects.toMatchObject({
      code: 'ERR_MODEL_NOT_FOUND',
      fault: 'caller',
    });
    await writeTestModel('tiny-vit', path.join(below, 'later'));
    expect(await pool.embedImage(photo('cat-1'))).toHaveLength(32);
  });

  test('is given up by its signal, with the reason', async () => {
    const { pool } = direct();
    const reason = new Error('enough');
    await expect(pool.embedImage(photo('cat-1'), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const batch = pool.batchEmbedImages(new Array(200).fill(photo('cat-1')), { signal: controller.signal });
    controller.abort(reason);
    await expect(batch).rejects.toBe(reason);
  });

  test('refuses calls once it is closed', async () => {
    const { pool } = direct();
    await pool.embedImage(photo('cat-1'));
    await pool.close();
    await expect(pool.embedImage(photo('cat-2'))).rejects.toMatchObject({ code: 'ERR_POOL_CLOSED' });
  });

  test.each([
    ['embedImage', [7]],
    ['embedImage', ['']],
    ['embedImageBytes', ['text']],
    ['embedImage', ['a.jpg', { dimension: 3 }]],
    ['embedImage', ['a.jpg', { dimensions: 0 }]],
    ['embedImage', ['a.jpg', { model: 7 }]],
    ['embedImage', ['a.jpg', { priority: 'urgent' }]],
    ['batchEmbedImages', ['a.jpg']],
  ] as const)('.%s(...%j) is refused', async (method, args) => {
    const { pool } = direct();
    await expect((pool[method] as (...args: readonly unknown[]) => Promise<unknown>)(...args)).rejects.toThrow();
  });
});

describe('createImageEmbeddingPool()', () => {
  test.each([
    [{ worker: 2 }],
    [{ workers: 0 }],
    [{ workers: { min: 3, max: 2 } }],
    [{ workers: 'all' }],
    [{ spareHosts: -1 }],
    [{ model: 5 }],
    [{ model: { from: '' } }],
    [{ models: { a: 1 } }],
    [{ host: 'cloud' }],
    [{ maxBatch: 0 }],
    [{ preprocess: 'slow' }],
    [{ limits: { maxPixels: -1 } }],
    [{ session: { threads: 2 } }],
    [{ hub: { endpoint: 'x' } }],
  ])('refuses %j', (options) => {
    expect(() => createImageEmbeddingPool(options as never)).toThrow(/^Cannot /);
  });

  test("with workers: 'auto' gives the cores that memory leaves idle to its workers as threads", async () => {
    const starts: WorkerModelOptions[] = [];
    const sizes: [limitBytes: number, session?: SessionOptions][] = [
      [200e6],
      [100e9],
      [200e6, { intraOpNumThreads: 3 }],
    ];
    for (const [limitBytes, session] of sizes) {
      const governor = new MemoryGovernor({ limitBytes });
      const spawn = (start: WorkerStart) => {
        starts.push(start.options as WorkerModelOptions);
        throw new Error('not now');
      };
      const pool = createImageEmbeddingPool({
        workers: 'auto',
        pool: { governor, spawn } as InternalPoolOptions,
        ...(session === undefined ? {} : { session }),
      });
      expect(pool.maxWorkers).toBe(availableCores());
      await expect(pool.embedImage('x.jpg')).rejects.toThrow('not now');
      await pool.close();
    }
    expect(starts.map((each) => each.session.intraOpNumThreads)).toEqual([availableCores(), 1, 3]);
  });
});

test('ImageEmbeddingPool.workers() tells how long images took to decode and to run', async () => {
  await using own = createImageEmbeddingPool({ workers: { max: 1 } });
  await own.embedImage('examples/photos/cat-1.jpg');
  const [worker] = await own.workers();
  const { decodeMs, runMs, batchSizes } = (worker?.health ?? {}) as Record<string, Record<string, number>>;
  const sum = (counts: Record<string, number> | undefined) => Object.values(counts ?? {}).reduce((a, b) => a + b, 0);
  expect([sum(decodeMs), sum(runMs), batchSizes]).toEqual([1, 1, { 1: 1 }]);
  expect(worker).toMatchObject({ model: 'default', inFlight: 0, served: 1, restarts: 0 });
});
