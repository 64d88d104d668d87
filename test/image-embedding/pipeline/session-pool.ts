import {
  createImageEmbeddingPool,
  type ImageEmbeddingPool,
  type ImageEmbeddingPoolOptions,
} from '../../../src/image-embedding/index.js';
import { type InternalPoolOptions, spawnPooledWorker, type WorkerStart } from '../../../src/pool/internal.js';

/** An image embedding pool whose one child decodes with sharp as ever, and has the model of a module of these tests. */
export function createSessionPool(
  module: string,
  more: Readonly<Record<string, unknown>>,
  options: ImageEmbeddingPoolOptions = {},
): ImageEmbeddingPool {
  return createImageEmbeddingPool({
    workers: 1,
    // Every image counts, also where a test uses one again and again.
    coalesce: false,
    ...options,
    pool: {
      spawn: (start: WorkerStart) =>
        spawnPooledWorker({
          ...start,
          module: new URL(module, import.meta.url),
          options: { ...(start.options as object), ...more },
        }),
    } as InternalPoolOptions,
  });
}
