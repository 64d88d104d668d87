import { describe, expect, test } from 'vitest';
import { EmbeddingPipeline } from '../../../src/image-embedding/pipeline/pipeline.js';
import { type HeldBytes, ReadAhead } from '../../../src/image-embedding/pipeline/read-ahead.js';
import { turn } from '../../support/settlement.js';

const turns = async (count: number) => {
  for (let each = 0; each < count; each += 1) await turn();
};

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Turns of the event loop that a read takes: it looks at the file, opens it, looks again and reads. */
const READ_TURNS = 4;

/**
 * A pipeline whose runs stop the event loop, as those of onnxruntime do, and which notes for each run how many other images sharp had been given by
 * then: what it decodes meanwhile, or has decoded.
 */
function createStage(maxBatch: number) {
  const handedOver: number[] = [];
  let given = 0;
  let ran = 0;
  const pipeline = new EmbeddingPipeline({
    read: async (_kind, input) => {
      await turns(READ_TURNS);
      return Uint8Array.of(input as number);
    },
    decode: async (bytes, _signal, onHandedOver) => {
      // Its header.
      await turn();
      given += 1;
      onHandedOver();
      // On another thread, in half the time of a run.
      await new Promise((resolve) => setTimeout(resolve, 10));
      return bytes;
    },
    run: async (images) => {
      ran += images.length;
      handedOver.push(given - ran);
      Atomics.wait(sleeper, 0, 0, 20);
      return images.map((each) => Float32Array.of(each[0] as number));
    },
    maxBatch,
    maxDelayMs: 0,
    decodeConcurrency: maxBatch,
    threads: 4,
    fetchConcurrency: 4,
  });
  return { pipeline, handedOver };
}

describe('EmbeddingPipeline', () => {
  test.each([1, 4])('has images of files at sharp before each run, at a batch of %i', async (maxBatch) => {
    const { pipeline, handedOver } = createStage(maxBatch);
    const count = 12 * maxBatch;
    let next = 0;
    // As many callers as a worker has places, each of which comes again with its answer.
    const caller = async () => {
      while (next < count) {
        next += 1;
        await pipeline.embed('path', next, undefined);
      }
    };
    await Promise.all(Array.from({ length: 3 * maxBatch }, caller));
    // The first run of all has nothing to go by, and the last ones nothing more to come.
    const steady = handedOver.slice(2, -3);
    expect(steady.length).toBeGreaterThan(3);
    expect(Math.min(...steady)).toBeGreaterThanOrEqual(1);
  });

  test('has the next image of a batch operation at sharp while one runs alone', async () => {
    const { pipeline, handedOver } = createStage(1);
    const inputs = Array.from({ length: 12 }, (_, index) => index);
    const embeddings = await Promise.all(inputs.map((each) => pipeline.embedBulk('path', each, undefined)));
    expect(embeddings.map((each) => each[0])).toEqual(inputs);
    expect(Math.min(...handedOver.slice(2, -2))).toBeGreaterThanOrEqual(1);
  });
});

describe('ReadAhead', () => {
  /** Reads that end when a test says so. */
  function createReads(budget: number) {
    const reads = new ReadAhead(budget);
    const begun: { readonly end: (size: number) => void; readonly fail: (error: Error) => void }[] = [];
    const read = (signal?: AbortSignal): Promise<HeldBytes> => {
      const reading = reads.read(
        () =>
          new Promise<Uint8Array>((resolve, reject) => {
            begun.push({ end: (size) => resolve(new Uint8Array(size)), fail: reject });
          }),
        signal,
      );
      reading.catch(() => {});
      return reading;
    };
    return { reads, begun, read };
  }

  test('holds no more than its budget, at the size of the last image', async () => {
    const { begun, read } = createReads(40_000_000);
    const first = read();
    begun[0]?.end(10_000_000);
    const held = [await first];
    const rest = Array.from({ length: 9 }, () => read());
    expect(begun).toHaveLength(4);
    for (let next = 1; next < 10; next += 1) {
      begun[next]?.end(10_000_000);
      held.push((await rest[next - 1]) as HeldBytes);
      expect(begun.length).toBe(Math.min(10, 3 + next));
      held.shift()?.release();
      await turn();
      expect(begun.length).toBe(Math.min(10, 4 + next));
    }
  });

  test('reads one that is larger than the budget alone', async () => {
    const { begun, read } = createReads(5_000_000);
    const large = read();
    const next = read();
    expect(begun).toHaveLength(1);
    begun[0]?.end(50_000_000);
    const held = await large;
    expect(begun).toHaveLength(1);
    held.release();
    held.release();
    await turn();
    expect(begun).toHaveLength(2);
    begun[1]?.end(1);
    (await next).release();
  });

  test('lets one who gives up the wait go, and gives the place of one that fails to the next', async () => {
    const { reads, begun, read } = createReads(5_000_000);
    const failing = read();
    const controller = new AbortController();
    const given = read(controller.signal);
    const last = read();
    expect([reads.reading, reads.waiting]).toEqual([1, 2]);
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(given).rejects.toBe(reason);
    await expect(read(AbortSignal.abort(reason))).rejects.toBe(reason);
    const cause = new Error('no such file');
    begun[0]?.fail(cause);
    await expect(failing).rejects.toBe(cause);
    await turn();
    expect(begun).toHaveLength(2);
    begun[1]?.end(7);
    expect((await last).bytes).toHaveLength(7);
    expect([reads.reading, reads.waiting]).toEqual([0, 0]);
  });
});
