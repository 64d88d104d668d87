import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { ImageCorruptError } from '../../../src/image-embedding/image-errors.js';
import type { Digest } from '../../../src/image-embedding/pipeline/picture.js';
import { EmbeddingPipeline } from '../../../src/image-embedding/pipeline/pipeline.js';
import { createHeldPool } from './held-pool.js';

const photoOf = (name: string) => fileURLToPath(new URL(`../../../examples/photos/${name}.jpg`, import.meta.url));
const photo = photoOf('cat-1');

async function settle(): Promise<void> {
  for (let turn = 0; turn < 30; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const atOnce: Digest = (bytes) => createHash('sha256').update(bytes).digest('base64');
const later: Digest = async (bytes) => {
  await new Promise((resolve) => setImmediate(resolve));
  return atOnce(bytes);
};

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

/** A pipeline whose decodes and runs end when a test says so. The content of an image is its number; 255 is damaged. */
function createStage(digest: Digest | undefined, maxBatch = 4) {
  const decodes: { readonly number: number; readonly signal: AbortSignal | undefined; end(): void }[] = [];
  const runs: { readonly numbers: number[]; end(): void }[] = [];
  const pipeline = new EmbeddingPipeline({
    read: async (_kind, input) => Uint8Array.of(input as number),
    decode: (bytes, signal) =>
      new Promise((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason));
        const number = bytes[0] as number;
        const end = () =>
          number === 255
            ? reject(new ImageCorruptError('Cannot decode image: it is damaged'))
            : resolve(Uint8Array.of(number));
        decodes.push({ number, signal, end });
      }),
    run: (images) =>
      new Promise((resolve) => {
        const numbers = images.map((each) => each[0] as number);
        runs.push({ numbers, end: () => resolve(numbers.map((number) => Float32Array.of(number))) });
      }),
    maxBatch,
    maxDelayMs: 0,
    decodeConcurrency: 8,
    threads: 4,
    fetchConcurrency: 4,
    digest,
  });
  const embedMany = (inputs: readonly number[]) =>
    Promise.all(inputs.map((input) => pipeline.embedBulk('path', input, undefined)));
  return { pipeline, embedMany, decodes, runs };
}

describe.each([
  ['at once', atOnce],
  ['later', later],
])('EmbeddingPipeline with a digest that is there %s', (_, digest) => {
  test('decodes and runs identical images once, whichever operation brought them, and others for themselves', async () => {
    const { pipeline, embedMany, decodes, runs } = createStage(digest);
    const all = [
      pipeline.embed('path', 1, undefined),
      pipeline.embed('url', 1, undefined),
      pipeline.embed('base64', 1, undefined),
      pipeline.embed('bytes', 1, undefined),
      pipeline.embedBulk('path', 1, undefined),
      pipeline.embed('path', 2, undefined),
    ];
    const batch = embedMany([1, 2, 1]);
    await settle();
    expect(decodes.map(({ number }) => number).sort()).toEqual([1, 2]);
    for (const each of decodes) each.end();
    await settle();
    await until(() => {
      for (const each of runs) each.end();
      return runs.flatMap(({ numbers }) => numbers).length >= 2;
    });
    for (const each of runs) each.end();
    expect(runs.flatMap(({ numbers }) => numbers).sort()).toEqual([1, 2]);
    expect((await Promise.all(all)).map((each) => each[0])).toEqual([1, 1, 1, 1, 1, 2]);
    expect((await batch).map((each) => each[0])).toEqual([1, 2, 1]);
    // What is over is not under way.
    const again = pipeline.embed('path', 1, undefined);
    await settle();
    expect(decodes).toHaveLength(3);
    decodes[2]?.end();
    const ran = runs.length;
    await until(() => runs.length > ran);
    runs.at(-1)?.end();
    expect((await again)[0]).toBe(1);
    expect(pipeline.load).toEqual({ fetching: 0, decoding: 0, waiting: 0 });
  });

  test.each(['while it is decoded', 'while it waits for its run'])(
    'lets each who waits leave alone, %s',
    async (when) => {
      const { pipeline, decodes, runs } = createStage(digest, 1);
      // Something that the others wait behind.
      const before = pipeline.embed('path', 9, undefined);
      await settle();
      decodes[0]?.end();
      await settle();
      const controllers = [new AbortController(), new AbortController(), new AbortController()] as const;
      const [first, second, third] = controllers.map(({ signal }, index) =>
        index === 2 ? pipeline.embedBulk('path', 1, signal) : pipeline.embed('path', 1, signal),
      ) as [Promise<Float32Array>, Promise<Float32Array>, Promise<Float32Array>];
      await settle();
      if (when === 'while it waits for its run') {
        decodes[1]?.end();
        await settle();
      }
      const reason = new Error('enough');
      controllers[0].abort(reason);
      await expect(first).rejects.toBe(reason);
      controllers[2].abort(reason);
      await expect(third).rejects.toBe(reason);
      expect(decodes[1]?.signal?.aborted).toBe(false);
      decodes[1]?.end();
      runs[0]?.end();
      await settle();
      runs[1]?.end();
      expect((await second)[0]).toBe(1);
      expect((await before)[0]).toBe(9);
      expect(decodes).toHaveLength(2);
    },
  );

  test('gives the work up when the last one leaves, and begins anew for one who comes then', async () => {
    const { pipeline, decodes, runs } = createStage(digest);
    const controllers = [new AbortController(), new AbortController()] as const;
    const left = controllers.map(({ signal }) => pipeline.embed('path', 1, signal));
    await settle();
    const reason = new Error('enough');
    for (const [index, controller] of controllers.entries()) {
      controller.abort(reason);
      await expect(left[index]).rejects.toBe(reason);
    }
    expect(decodes[0]?.signal?.aborted).toBe(true);
    const again = pipeline.embed('path', 1, undefined);
    await settle();
    expect(decodes).toHaveLength(2);
    decodes[1]?.end();
    await settle();
    runs[0]?.end();
    expect((await again)[0]).toBe(1);
    expect(pipeline.load).toEqual({ fetching: 0, decoding: 0, waiting: 0 });
  });

  test('fails all who wait for an image that is damaged', async () => {
    const { pipeline, decodes } = createStage(digest);
    const all = [
      pipeline.embed('path', 255, undefined),
      pipeline.embed('bytes', 255, undefined),
      pipeline.embedBulk('path', 255, undefined),
    ];
    await settle();
    expect(decodes).toHaveLength(1);
    decodes[0]?.end();
    for (const each of all) await expect(each).rejects.toMatchObject({ code: 'ERR_IMAGE_CORRUPT' });
  });

  test('lets a single image take the bulk’s one along: to the next run, at whichever stage that is', async () => {
    for (const stage of ['before its decode', 'in its decode', 'before its run'] as const) {
      const { pipeline, embedMany, decodes, runs } = createStage(digest, 2);
      const first = pipeline.embed('path', 100, undefined);
      await settle();
      decodes[0]?.end();
      await settle();
      const bulk = embedMany([1, 2, 3, 4, 5, 6, 7]);
      await settle();
      const wanted = stage === 'before its decode' ? 7 : 3;
      if (stage === 'before its run') {
        for (const each of decodes.slice(1)) each.end();
        await settle();
      }
      const single = pipeline.embed('bytes', wanted, undefined);
      await settle();
      for (const each of decodes) each.end();
      await settle();
      runs[0]?.end();
      await until(() => runs.length > 1);
      expect(runs[1]?.numbers).toContain(wanted);
      let isOver = false;
      void Promise.all([single, first, bulk]).finally(() => {
        isOver = true;
      });
      while (!isOver) {
        for (const each of [...decodes, ...runs]) each.end();
        await settle();
      }
      expect((await single)[0]).toBe(wanted);
      expect((await first)[0]).toBe(100);
      expect((await bulk).map((each) => each[0])).toEqual([1, 2, 3, 4, 5, 6, 7]);
      expect(decodes.map(({ number }) => number).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 100]);
    }
  });
});

describe('ImageEmbeddingPool', () => {
  test('runs identical images that are under way in a worker once, by path, copy, base64, bytes and batch', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'millrace-twins-'));
    // So small that all of the calls are in the worker's pipe before the run that is held has ended.
    const bytes = await sharp(photo).resize(96).jpeg().toBuffer();
    const [original, copy] = ['original.jpg', 'copy.jpg'].map((name) => path.join(folder, name)) as [string, string];
    await Promise.all([original, copy].map((file) => writeFile(file, bytes)));
    const held = await createHeldPool({ coalesce: true, maxBatch: 8 });
    try {
      const { pool } = held;
      const options = { normalize: false } as const;
      // The model has run its blank image by then.
      await pool.embedImage(photoOf('clock'), options);
      const holding = held.hold();
      const before = pool.embedImage(photoOf('rocket-1'), options);
      const number = await holding;
      const base64 = bytes.toString('base64');
      const twins = [
        pool.embedImage(original, options),
        pool.embedImage(copy, options),
        pool.embedImageBytes(bytes, options),
        pool.embedImageBytes(Uint8Array.from(bytes), options),
        pool.embedImageBytes(new Blob([Uint8Array.from(bytes)]), options),
        pool.embedImageBase64(base64, options),
        pool.embedImageBase64(`data:image/jpeg;base64,${base64}`, options),
        pool.embedImage(original, { ...options, priority: 'batch' }),
      ];
      const batch = pool.batchEmbedImages([original, copy, bytes, photoOf('coffee-1')], options);
      // Each image is with the worker before the run that is held has ended. The pool itself joins two of the same path.
      await until(() =>
        Object.values(pool.stats().models).some((model) => model.pending === 13 && model.inFlight === 12),
      );
      const next = await held.step(number);
      await held.release();
      expect(held.runOf(await before).number).toBe(number);
      const answers = [...(await Promise.all(twins)), ...(await batch)].map(held.runOf);
      const coffee = answers.pop();
      // A busy machine may read a file only after a run has begun: that image is in the next. Whichever run it is, it has the cat once.
      const catRuns = new Map(answers.map((each) => [each.number, each.images]));
      expect(Math.min(...catRuns.keys())).toBeGreaterThanOrEqual(next);
      expect(catRuns.size).toBeLessThan(answers.length / 2);
      for (const [run, images] of catRuns) expect(images).toBe(run === coffee?.number ? 2 : 1);
    } finally {
      await held.destroy();
      await rm(folder, { recursive: true, force: true });
    }
  }, 30_000);

  test('takes no image for another, however much they have in common', async () => {
    const raw = { width: 64, height: 64, channels: 3 } as const;
    const pixels = Buffer.alloc(64 * 64 * 3, 128);
    const one = await sharp(pixels, { raw }).tiff({ compression: 'none' }).toBuffer();
    const other = Buffer.from(one);
    const at = other.lastIndexOf(128);
    other[at] = 129;
    expect(other).toHaveLength(one.length);
    expect(atOnce(one)).not.toBe(atOnce(other));
  });
});
