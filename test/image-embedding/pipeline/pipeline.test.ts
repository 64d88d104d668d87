import { describe, expect, test } from 'vitest';
import { ImageCorruptError } from '../../../src/image-embedding/image-errors.js';
import { EmbeddingPipeline } from '../../../src/image-embedding/pipeline/pipeline.js';

const MAX_BATCH = 16;

/** Lets everything that can go on without a run do so. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A pipeline whose runs a test ends one by one, and whose images are named by their bytes. */
function createStage() {
  const runs: { readonly images: readonly Uint8Array[]; readonly end: () => void; readonly decoding: number }[] = [];
  const stage = { decoding: 0, decoded: 0, peak: 0 };
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
    run: (images) =>
      new Promise((resolve) => {
        const vectors = images.map((each) => Float32Array.of(each[0] as number));
        runs.push({ images, end: () => resolve(vectors), decoding: stage.decoding });
      }),
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
  const embedMany = (inputs: readonly number[], signal?: AbortSignal) =>
    Promise.all(inputs.map((input) => pipeline.embedBulk('path', input, signal)));
  return { pipeline, embedMany, runs, stage, runUntil };
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

  test('.embedBulk() of 1,000 images holds up a single one by one batch at most', async () => {
    const { pipeline, embedMany, runs } = createStage();
    const bulk = embedMany(Array.from({ length: 1_000 }, (_, index) => index % 200));
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
    expect(await bulk).toHaveLength(1_000);
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

  test('.embedBulk() has few decodes outstanding while batches are small, and a whole batch when they are not', async () => {
    const slow = createStage();
    const bulk = slow.embedMany(new Array(100).fill(1));
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

  test('.embedBulk() fails the images that are damaged, and no other of their batch', async () => {
    const { pipeline, runUntil } = createStage();
    let isOver = false;
    const batch = Promise.allSettled([1, 255, 3, 255].map((each) => pipeline.embedBulk('path', each, undefined)));
    void batch.then(() => {
      isOver = true;
    });
    await runUntil(() => isOver);
    const [first, second, third, last] = await batch;
    expect([first, third]).toMatchObject([{ value: Float32Array.of(1) }, { value: Float32Array.of(3) }]);
    const reason = { code: 'ERR_IMAGE_CORRUPT', fault: 'caller' };
    expect([second, last]).toMatchObject([{ reason }, { reason }]);
  });

  test('.embedBulk() rejects with the reason when it is given up, and decodes no more', async () => {
    const { embedMany, stage, runUntil } = createStage();
    const controller = new AbortController();
    const reason = new Error('enough');
    let isOver = false;
    const batch = embedMany(new Array(1_000).fill(1), controller.signal).finally(() => {
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
