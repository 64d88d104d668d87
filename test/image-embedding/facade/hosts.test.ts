import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeTestModel } from '../../../scripts/make-test-models.js';
import {
  createImageEmbeddingPool,
  createModelSpec,
  ImageNotFoundError,
  ImageUnsupportedError,
  ModelMismatchError,
} from '../../../src/image-embedding/index.js';
import { startLoopLateness } from '../../integration/loop-lateness.js';
import { listProcesses } from '../../integration/processes.js';
import { createDirectPool } from './direct-pool.js';

const photos = fileURLToPath(new URL('../../../examples/photos/', import.meta.url));
const photo = (name: string) => path.join(photos, `${name}.jpg`);
const mobilenet = fileURLToPath(new URL('../../../models/mobilenet-v1-0.25/onnx/model.onnx', import.meta.url));

let below: string;
let files: string[];

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-hosts-'));
  files = (await readdir(photos)).filter((each) => each.endsWith('.jpg')).map((each) => path.join(photos, each));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

/** The child processes of this one that run a worker, as the system sees them. */
async function workerPids(): Promise<number[]> {
  const rows = await listProcesses();
  return rows
    .filter(({ parent, command }) => parent === process.pid && command.includes('process-child'))
    .map(({ pid }) => pid);
}

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function furthest(one: Float32Array, other: Float32Array): number {
  return one.reduce((most, value, index) => Math.max(most, Math.abs(value - (other[index] as number))), 0);
}

describe('ImageEmbeddingPool', () => {
  test('with a spare host loads its model in a process that had onnxruntime and sharp before', async () => {
    const before = await workerPids();
    const pool = createImageEmbeddingPool({ workers: { max: 1 }, spareHosts: 1 });
    const spares = async () => (await workerPids()).filter((pid) => !before.includes(pid));
    const [spare] = await spares();
    const mapped = () => readFile(`/proc/${spare}/maps`, 'utf8');
    if (process.platform === 'linux') {
      await until('the native parts', async () => /onnxruntime/.test(await mapped()) && /vips/.test(await mapped()));
    }
    const direct = createDirectPool();
    const owners = () => pool.health().memory.held.map(({ owner }) => owner);
    expect(owners()).toEqual(['image-embedding/spare hosts']);
    const events = pool.events();
    const started = (async () => {
      for await (const { type } of events) if (type === 'start') return owners();
      return [];
    })();
    const vectors = [await pool.embedImage(photo('cat-1')), await direct.pool.embedImage(photo('cat-1'))] as const;
    expect(furthest(...vectors)).toBeLessThan(1e-6);
    // It was taken, so the next is still to come.
    expect(await started).toEqual(['image-embedding/default']);
    expect(await spares()).toContain(spare);
    expect(pool.stats().models.default).toMatchObject({ workers: 1, starts: 1 });
    await Promise.all([pool.close(), direct.pool.close()]);
    expect(await spares()).toEqual([]);
  }, 60_000);

  test.each(['inline', 'thread', 'process'] as const)(
    'gives the same numbers in the %s host',
    async (host) => {
      const direct = createDirectPool();
      const pool = createImageEmbeddingPool({ host, workers: 1 });
      const bytes = await readFile(photo('cat-1'));
      const expected = await direct.pool.embedImage(photo('cat-1'));
      for (const vector of [
        await pool.embedImage(photo('cat-1')),
        await pool.embedImageBase64(bytes.toString('base64')),
        await pool.embedImageBytes(bytes),
        (await pool.batchEmbedImages([photo('cat-1'), photo('clock')]))[0] as Float32Array,
      ]) {
        expect(vector).toHaveLength(256);
        expect(furthest(vector, expected)).toBeLessThan(1e-5);
      }
      await expect(pool.embedImage('/no/such/image.jpg')).rejects.toBeInstanceOf(ImageNotFoundError);
      await Promise.all([pool.close(), direct.pool.close()]);
    },
    60_000,
  );

  test('runs two workers as two processes, which end with it', async () => {
    const pool = createImageEmbeddingPool({ workers: 2 });
    await pool.warm();
    const pids = await workerPids();
    expect(pids).toHaveLength(2);
    await pool.batchEmbedImages([...files, ...files]);
    expect((await workerPids()).sort()).toEqual(pids.sort());
    await pool.close();
    await until('the end of the workers', async () => (await workerPids()).length === 0);
  }, 60_000);

  test.each(['batchEmbedImages', 'embedImages'] as const)(
    '.%s() of 100 images gives 100 results when a worker is killed on the way',
    async (method) => {
      const pool = createImageEmbeddingPool({ workers: 2, coalesce: false });
      await pool.warm();
      const [victim] = await workerPids();
      const paths = Array.from({ length: 100 }, (_, index) => files[index % files.length] as string);
      const killed = (async () => {
        await until('some answers', async () => pool.stats().accepted > 4);
        process.kill(victim as number, 'SIGKILL');
      })();
      let results = 0;
      if (method === 'batchEmbedImages') {
        const all = await pool.batchEmbedImages(paths);
        results = all.filter((each) => each.length === 256).length;
      } else {
        for await (const { embedding } of pool.embedImages(paths)) if (embedding?.length === 256) results += 1;
      }
      await killed;
      expect(results).toBe(100);
      await until('the crash to be counted', async () =>
        Object.values(pool.stats().models).some(({ crashes }) => crashes === 1),
      );
      const { accepted, succeeded, failed, expired, cancelled } = pool.stats();
      expect(succeeded + failed + expired + cancelled).toBe(accepted);
      await pool.close();
    },
    60_000,
  );

  test("leaves the caller's event loop free", async () => {
    const pool = createImageEmbeddingPool({ workers: 2 });
    await pool.warm();
    const loop = startLoopLateness();
    for await (const { error } of pool.embedImages(
      Array.from({ length: 200 }, (_, index) => files[index % files.length] as string),
    ))
      expect(error).toBeUndefined();
    expect(loop.stop().p99Ms).toBeLessThan(25);
    await pool.close();
  }, 60_000);

  test('answers bad images from another process with their own class, and goes on', async () => {
    const pool = createImageEmbeddingPool({ workers: 1 });
    const text = path.join(below, 'text.jpg');
    await writeFile(text, 'not a picture at all');
    const failure = await pool.embedImage(text).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ImageUnsupportedError);
    expect(failure).toMatchObject({ code: 'ERR_IMAGE_UNSUPPORTED', fault: 'caller' });
    await expect(pool.embedImage(photos)).rejects.toMatchObject({ code: 'ERR_IMAGE_UNSUPPORTED' });
    await expect(pool.embedImageBase64('%%%')).rejects.toMatchObject({ code: 'ERR_BASE64_INVALID' });
    await expect(pool.embedImageUrl('http://127.0.0.1:1/a.jpg')).rejects.toMatchObject({ code: 'ERR_URL_FORBIDDEN' });
    expect(await pool.embedImage(photo('cat-1'))).toHaveLength(256);
    expect(pool.stats()).toMatchObject({ succeeded: 1, failed: 4 });
    await pool.close();
  }, 60_000);

  test('answers a model that does not match, and one that is damaged, with what is wrong with it', async () => {
    const tiny = await writeTestModel('tiny-vit', below);
    const wrong = createImageEmbeddingPool({
      model: createModelSpec({ file: path.join(tiny, 'onnx', 'model.onnx'), size: 64 }),
    });
    const failure = await wrong.embedImage(photo('cat-1')).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ModelMismatchError);
    expect(failure).toMatchObject({
      code: 'ERR_MODEL_MISMATCH',
      message: expect.stringMatching(/\[batch, 3, 64, 64\].*found pixel_values float32 \[batch, 3, 32, 32\]/),
    });
    await wrong.close();
    const file = path.join(below, 'cut.onnx');
    await writeFile(file, (await readFile(mobilenet)).subarray(0, 900_000));
    const damaged = createImageEmbeddingPool({ model: createModelSpec({ file, size: 224 }) });
    await expect(damaged.embedImage(photo('cat-1'))).rejects.toMatchObject({
      code: 'ERR_MODEL_CORRUPT',
      fault: 'model',
    });
    await damaged.close();
    const missing = createImageEmbeddingPool({ model: path.join(below, 'nowhere') });
    await expect(missing.warm()).rejects.toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' });
    await missing.close();
  }, 60_000);
});
