/** A batch of any size: in chunks of one inference batch, over all workers. */
import { setMaxListeners } from 'node:events';
import PQueue from 'p-queue';
import { requireBoolean } from '../../core/index.js';
import type { BatchAnswer } from '../operations.js';
import { decodeFailure } from '../pipeline/item-failure.js';
import { BatchError, type BatchFailure } from './batch-error.js';
import { callOptions, finish } from './embed-call.js';
import { type BatchEmbedOptions, type EmbedOptions, requireEmbedOptions } from './embed-options.js';
import { plainError } from './loaded-model.js';
import type { ModelRegistry } from './model-registry.js';
import type { FacadeSettings } from './pool-options.js';

/** One image of a settled batch. */
export type SettledEmbedding =
  | { readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly embedding?: undefined; readonly error: Error };

/** How many chunks of a batch are under way for each worker: one that runs, one that is made ready. */
const CHUNKS_PER_WORKER = 2;

/** Checks a call and embeds its image files: all or nothing, or each for itself with `settle`. */
export async function embedBatch(
  registry: ModelRegistry,
  settings: FacadeSettings,
  paths: readonly string[],
  options: BatchEmbedOptions | undefined,
): Promise<Float32Array[] | SettledEmbedding[]> {
  const action = 'Cannot embed batch';
  const given = requireEmbedOptions<BatchEmbedOptions>(action, options, ['settle']);
  if (!Array.isArray(paths)) throw new TypeError(`${action}: paths must be an array of strings`);
  const settle = given.settle === undefined ? false : requireBoolean(action, 'settle', given.settle);
  const results = await embedEach(registry, settings, paths, given);
  if (settle) return results;
  const failures: BatchFailure[] = [];
  for (const [index, { error }] of results.entries()) {
    if (error !== undefined) failures.push({ index, input: paths[index] as string, error });
  }
  if (failures.length > 0) throw new BatchError(failures, paths.length);
  return results.map(({ embedding }) => embedding as Float32Array);
}

/** Answers each image for itself; rejects when the model or the pool fails, or the call is given up. */
async function embedEach(
  registry: ModelRegistry,
  { maxWorkers }: FacadeSettings,
  paths: readonly string[],
  options: Partial<EmbedOptions>,
): Promise<SettledEmbedding[]> {
  const results: SettledEmbedding[] = new Array(paths.length);
  if (paths.length === 0) return results;
  const started = performance.now();
  const loaded = await registry.load(options);
  const { maxBatch } = loaded;
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const onAbort = () => controller.abort(options.signal?.reason);
  if (options.signal?.aborted) onAbort();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const queue = new PQueue({ concurrency: CHUNKS_PER_WORKER * maxWorkers });
  const embedChunk = async (start: number) => {
    controller.signal.throwIfAborted();
    const chunk = paths.slice(start, start + maxBatch);
    const call = callOptions({ ...options, signal: controller.signal }, 'batch', performance.now() - started);
    unpackBatch(await loaded.handle.call('batchEmbedImages', chunk, call), chunk.length, (index, result) => {
      results[start + index] =
        result instanceof Error ? { error: result } : { embedding: finish(result, options, loaded) };
    });
  };
  const starts = Array.from({ length: Math.ceil(paths.length / maxBatch) }, (_, chunk) => chunk * maxBatch);
  try {
    await Promise.all(starts.map((start) => queue.add(() => embedChunk(start))));
  } catch (error) {
    // The chunks that are still under way would work for nobody.
    queue.clear();
    controller.abort(error);
    throw plainError(error);
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
  }
  return results;
}

function unpackBatch(
  { vectors, dimension, failures }: BatchAnswer,
  count: number,
  set: (index: number, result: Float32Array | Error) => void,
): void {
  const failed = new Map(failures.map(({ index, failure }) => [index, failure]));
  for (let index = 0; index < count; index += 1) {
    const failure = failed.get(index);
    set(
      index,
      failure === undefined ? vectors.subarray(index * dimension, (index + 1) * dimension) : decodeFailure(failure),
    );
  }
}
