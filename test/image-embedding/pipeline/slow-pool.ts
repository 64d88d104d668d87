import type { ImageEmbeddingPool, ImageEmbeddingPoolOptions } from '../../../src/image-embedding/index.js';
import { createSessionPool } from './session-pool.js';

/** One run of the model, in ms on {@link SlowPool.now}'s scale. */
export interface Run {
  readonly begun: number;
  readonly ended: number;
}

/** A pool whose model takes a known time for each run. */
export interface SlowPool {
  readonly pool: ImageEmbeddingPool;
  /** The time, as the child has it too. */
  now(): number;
  /** The run that an image was in; embeddings must be asked for with `normalize: false`. */
  runOf(embedding: Float32Array): Run;
  /** The runs before that one, the last first: as many as are told of. */
  runsBefore(embedding: Float32Array): Run[];
}

const now = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

export function createSlowPool(runMs: number, options: ImageEmbeddingPoolOptions = {}): SlowPool {
  const origin = now();
  return {
    pool: createSessionPool('./slow-session.mjs', { runMs, origin }, options),
    now: () => now() - origin,
    runOf: (embedding) => runsOf(embedding)[0] as Run,
    runsBefore: (embedding) => runsOf(embedding).slice(1),
  };
}

function runsOf(embedding: Float32Array): Run[] {
  return Array.from({ length: embedding.length / 2 }, (_, index) => ({
    begun: embedding[2 * index] as number,
    ended: embedding[2 * index + 1] as number,
  }));
}
