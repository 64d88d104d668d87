import { expect } from 'vitest';
import { isMillraceError } from '../../src/core/index.js';
import { createImageEmbeddingPool } from '../../src/image-embedding/index.js';
import { mutatedImages, soundImages } from './mutated-images.js';

/** Codes that an image can be answered with; anything else is a fault of ours. */
const EXPECTED = new Set([
  'ERR_IMAGE_CORRUPT',
  'ERR_IMAGE_UNSUPPORTED',
  'ERR_IMAGE_TOO_LARGE',
  'ERR_IMAGE_TIMEOUT',
  'ERR_WORKER_CRASHED',
]);

/** Sends damaged images through a pool of two processes; every one must be answered, and the pool must be sound afterwards. */
export async function sendDamaged(count: number, seed: number): Promise<Map<string, number>> {
  const outcomes = new Map<string, number>();
  await using pool = createImageEmbeddingPool({
    workers: 2,
    timeoutMs: 120_000,
    // A crashing codec would be a find, not a reason to stop looking.
    breaker: false,
  });
  const images = await mutatedImages(count, seed);
  let next = 0;
  const client = async (): Promise<void> => {
    for (let index = next++; index < images.length; index = next++) {
      const { name, bytes } = images[index] as (typeof images)[number];
      let outcome = 'embedding';
      try {
        const vector = await pool.embedImageBytes(bytes);
        expect(vector.length, name).toBe(256);
        expect(vector.every(Number.isFinite), name).toBe(true);
      } catch (error) {
        if (!isMillraceError(error) || !EXPECTED.has(error.code)) {
          throw new Error(`${name}: ${String(error)}`, { cause: error });
        }
        outcome = error.code;
      }
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 24 }, client));
  for (const { name, bytes } of await soundImages()) {
    expect((await pool.embedImageBytes(bytes)).length, name).toBe(256);
  }
  return outcomes;
}
