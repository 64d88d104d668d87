import { describe, expect, test } from 'vitest';
import { ImageCorruptError } from '../../../src/image-embedding/image-errors.js';
import { decodeFailure } from '../../../src/image-embedding/pipeline/item-failure.js';
import { EmbeddingPipeline } from '../../../src/image-embedding/pipeline/pipeline.js';
import { createBatcher } from '../../../src/worker/index.js';

const MAX_BATCH = 16;

/** Lets everything that can go on without a run do so. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A pipeline whose runs a test ends one by one, and whose images are named by their bytes. */
function createStage() {
  const runs: { readonly images: readonly Uint8Array[]; readonly end: () => void; readonly decoding: number }[] = [];
  const stage = { decoding: 0, decoded: 0, peak: 0 };
  const batcher = createBatcher<Uint8Array, Float32Array>({
    maxBatch: MAX_BATCH,
    maxDelayMs: 0,
    run: (images) =>
      new Promise((resolve) => {
        pipeline.noteBatch(images.length);
        const vectors = images.map((each) => Float32Array.of(each[0] as number));
        runs.push({ images, end: () => resolve(vectors), decoding: stage.decoding });
      }),
  });
  // A decode ends some turns later, as one on another thread does.
  const decode = async (bytes: Uint8Array) => {
    stage.decoding += 1;
    stage.peak = Math.max(stage.peak, stage.decoding);
    await new Promise((resolve) => setImmediate(resolve));
    stage.decoding -= 1;
    stage.decoded += 1;
    if (bytes[0] === 255) throw new ImageCorruptError('Cannot decode image: it is damaged');
    return Uint8Array.of(bytes[0] as number);
  };
  const pipeline = new EmbeddingPipeline({
    read: async (_kind, input) => Uint8Array.of(input as number),
    decode,
    runner: batcher,
    maxBatch: MAX_BATCH,
    maxDelayMs: 0,
    decodeConcurrency: MAX_BATCH,
    threads: 4,
    fetchConcurrency: 4,
  });
  /** Ends one run after another until something is true; answers how many. */
  const runUntil = async (isDone: () => boolean): Promise<number> => {
    let ended = 0;
    for (let next = 0; !isDone(); next += 1) {
      await settle();
      if (isDone()) break;
      const run = runs[next];
      if (run === undefined) throw new Error('nothing runs');
      run.end();
      ended += 1;
      await settle();
    }
    return ended;
  };
  return { pipeline, runs, stage, runUntil };
}

describe('EmbeddingPipeline', () => {
  test('.embed() has the whole next batch decoded while one runs', async () => {
    const { pipeline, runs, stage } = createStage();
    const all = Array.from({ length: 64 }, (_, index) => pipeline.embed('bytes', index, undefined));
    await settle();
    // One run is under way, and every other image is decoded without its end.
    expect(runs).toHaveLength(1);
    expect(stage.decoded).toBe(64);
    expect(stage.peak).toBe(MAX_BATCH);
    for (let next = 0; next < runs.length; next += 1) {
      runs[next]?.end();
      await settle();
    }
    expect((await Promise.all(all)).map((each) => each[0])).toEqual(Array.from({ length: 64 }, (_, index) => index));
    expect(runs.slice(1, -1).every(({ images }) => images.length === MAX_BATCH)).toBe(true);
  });

  test('.embedAll() of 1,000 images holds up a single one by one batch at most', async () => {
    const { pipeline, runs } = createStage();
    const bulk = pipeline.embedAll(
      'path',
      Array.from({ length: 1_000 }, (_, index) => index % 200),
      undefined,
    );
    await settle();
    runs[0]?.end();
    await settle();
    const before = runs.length;
    let isDone = false;
    const single = pipeline.embed('path', 201, undefined).then((vector) => {
      isDone = true;
      return vector;
    });
    await settle();
    // The run that was under way, and then the one that the image is in.
    runs[before - 1]?.end();
    await settle();
    expect(runs[before]?.images.some((each) => each[0] === 201)).toBe(true);
    runs[before]?.end();
    await settle();
    expect(isDone).toBe(true);
    expect((await single)[0]).toBe(201);
    let isOver = false;
    void bulk.then(() => {
      isOver = true;
    });
    for (let next = before + 1; !isOver; next += 1) {
      runs[next]?.end();
      await settle();
    }
    expect((await bulk).failures).toEqual([]);
  });

  test('.embedBulk() of any number of images holds up a single one by one batch at most', async () => {
    const { pipeline, runs, runUntil } = createStage();
    let left = 200;
    for (let index = 0; index < 200; index += 1) {
      void pipeline.embedBulk(index % 2 === 0 ? 'path' : 'url', index, undefined).then(() => {
        left -= 1;
      });
    }
    await settle();
    runs[0]?.end();
    await settle();
    const before = runs.length;
    const single = pipeline.embed('path', 201, undefined);
    await settle();
    runs[before - 1]?.end();
    await settle();
    expect(runs[before]?.images.some((each) => each[0] === 201)).toBe(true);
    await runUntil(() => left === 0);
    expect((await single)[0]).toBe(201);
  });

  test('.embedBulk() leaves its queue when it is given up', async () => {
    const { pipeline, runUntil } = createStage();
    const controller = new AbortController();
    let left = 100;
    for (let index = 0; index < 100; index += 1) {
      void pipeline.embedBulk('path', index, undefined).then(() => {
        left -= 1;
      });
    }
    const reason = new Error('enough');
    const given = pipeline.embedBulk('path', 201, controller.signal);
    given.catch(() => undefined);
    await settle();
    controller.abort(reason);
    await expect(given).rejects.toBe(reason);
    await runUntil(() => left === 0);
    expect(pipeline.load).toEqual({ fetching: 0, decoding: 0, waiting: 0 });
  });

  test('.embedAll() has few decodes outstanding while batches are small, and a whole batch when they are not', async () => {
    const slow = createStage();
    const bulk = slow.pipeline.embedAll('path', new Array(100).fill(1), undefined);
    bulk.catch(() => undefined);
    await settle();
    expect(slow.stage.peak).toBe(8);
    // The model was busy all the while, so that its next batch is a full one.
    slow.runs[0]?.end();
    await settle();
    expect(slow.runs[1]?.images).toHaveLength(MAX_BATCH);
    slow.runs[1]?.end();
    await settle();
    expect(slow.stage.peak).toBe(MAX_BATCH);
  });

  test('.embedAll() names the images that failed, beside those that did not', async () => {
    const { pipeline, runUntil } = createStage();
    let isOver = false;
    const batch = pipeline.embedAll('path', [1, 255, 3, 255], undefined).finally(() => {
      isOver = true;
    });
    await runUntil(() => isOver);
    const { embeddings, failures } = await batch;
    expect(embeddings.map((each) => each?.[0])).toEqual([1, undefined, 3, undefined]);
    expect(failures.map(({ index }) => index)).toEqual([1, 3]);
    const { failure } = failures[0] as (typeof failures)[number];
    expect(decodeFailure(failure)).toMatchObject({ code: 'ERR_IMAGE_CORRUPT', fault: 'caller' });
  });

  test('.embedAll() rejects with the reason when it is given up, and decodes no more', async () => {
    const { pipeline, stage, runUntil } = createStage();
    const controller = new AbortController();
    const reason = new Error('enough');
    let isOver = false;
    const batch = pipeline.embedAll('path', new Array(1_000).fill(1), controller.signal).finally(() => {
      isOver = true;
    });
    batch.catch(() => undefined);
    await settle();
    controller.abort(reason);
    await runUntil(() => isOver);
    await expect(batch).rejects.toBe(reason);
    expect(stage.decoded).toBeLessThan(4 * MAX_BATCH);
  });
});
