/** What the server needs of a pool. */
import type { ImageEmbeddingPool } from '../image-embedding/index.js';

/** A pool that can be served: an `ImageEmbeddingPool`, or anything that answers the same calls. */
export type ServePool = Pick<
  ImageEmbeddingPool,
  | 'describe'
  | 'embedImageDetailed'
  | 'embedText'
  | 'textVectors'
  | 'warm'
  | 'evict'
  | 'health'
  | 'stats'
  | 'workers'
  | 'metrics'
  | 'events'
  | 'maxWorkers'
  | 'window'
>;
