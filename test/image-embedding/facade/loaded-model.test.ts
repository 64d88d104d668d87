import { describe, expect, test } from 'vitest';
import { registerModel } from '../../../src/image-embedding/facade/loaded-model.js';
import {
  type ImageEmbeddingPoolOptions,
  requireFacadeOptions,
} from '../../../src/image-embedding/facade/pool-options.js';
import type { ModelSpec } from '../../../src/image-embedding/model/model-spec.js';
import type { WorkerModelOptions } from '../../../src/image-embedding/pipeline/worker-model.js';
import type { Pool } from '../../../src/pool/index.js';
import { squareSpec } from '../square-spec.js';

interface Registered {
  readonly maxBatch: number;
  readonly concurrency: number;
  readonly maxParked: number;
  readonly options: WorkerModelOptions;
}

/** What a model of this size is registered with. */
function register(bytes: number, given: ImageEmbeddingPoolOptions): Registered & { readonly loadedBatch: number } {
  let registered: Registered | undefined;
  const pool = {
    register: (_key: string, options: Registered) => {
      registered = options;
    },
  } as unknown as Pool;
  const spec = { file: 'model.onnx', preprocess: squareSpec(4) } as ModelSpec;
  const settings = requireFacadeOptions(given);
  const loaded = registerModel(
    pool,
    { key: 'model', label: 'model', spec, prepared: undefined, bytes, costMb: 100 },
    settings,
  );
  return { ...(registered as unknown as Registered), loadedBatch: loaded.maxBatch };
}

describe('registerModel', () => {
  test.each([
    [1e6, {}, 8],
    [20e6, {}, 4],
    [20e6, { session: { executionProviders: ['cpu'] } }, 4],
    [20e6, { session: { executionProviders: ['cuda', 'cpu'] } }, 8],
    [20e6, { maxBatch: 6 }, 6],
    [1e6, { maxBatch: 2 }, 2],
  ])('registerModel batches %d bytes with %j by %d', (bytes, given, maxBatch) => {
    const registered = register(bytes, given);
    expect(registered.maxBatch).toBe(maxBatch);
    expect(registered.loadedBatch).toBe(maxBatch);
    expect(registered.options).toMatchObject({ maxBatch });
    const isOnGpu = JSON.stringify(given).includes('cuda');
    expect(registered.options.isThrifty).toBe(bytes > 16e6 && !isOnGpu);
    expect(registered.concurrency).toBe(3 * maxBatch);
    // Images whose servers are waited for take no place of the others.
    expect(registered.maxParked).toBe(64);
  });
});
