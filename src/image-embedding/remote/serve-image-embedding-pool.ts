import { type ServedPool, type ServePoolOptions, servePool } from '../../remote/index.js';
import type { ImageEmbeddingPool } from '../facade/image-embedding-pool.js';
import type { ModelSource } from '../model/resolve-model.js';

/** Options of {@link serveImageEmbeddingPool}. */
export interface ServeImageEmbeddingPoolOptions extends Omit<ServePoolOptions, 'model' | 'operations'> {
  /** The model that is served. The pool's own by default. */
  readonly model?: ModelSource | undefined;
  /** Whether hosts fetch URLs for callers, within the pool's own limits. True by default. */
  readonly fetchesUrls?: boolean | undefined;
}

/**
 * Offers a model of an image embedding pool to callers on other machines, which reach it through {@link createRemoteImageEmbeddingPool}.
 *
 * Bytes, base64 and URLs are taken, paths are not: no caller can have a file of this machine opened.
 *
 * @param pool The pool. It stays open when the host is closed.
 * @param options See {@link ServeImageEmbeddingPoolOptions}; unknown keys are refused.
 * @returns The host, once callers can find it.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @throws ModelNotFoundError, ModelDownloadError, ... The model is unusable.
 * @example
 * ```ts
 * const bus = new SimulatedBus().connect();
 * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
 * const host = await serveImageEmbeddingPool(pool, { bus, service: 'images', name: 'one' });
 * host.name; // => 'one'
 * await host.close();
 * await pool.close();
 * ```
 */
export async function serveImageEmbeddingPool(
  pool: ImageEmbeddingPool,
  options: ServeImageEmbeddingPoolOptions,
): Promise<ServedPool> {
  const { fetchesUrls, model, ...rest } = options;
  const { pool: below, key } = await pool.below(model);
  const operations = [
    'describe',
    'embedImageBytes',
    'embedImageBase64',
    ...(fetchesUrls === false ? [] : ['embedImageUrl']),
  ];
  return await servePool(below, { ...rest, model: key, operations });
}
