/** A batch of any size: in chunks of one inference batch, over all workers. */
import { setMaxListeners } from 'node:events';
import PQueue from 'p-queue';
import { addAbortListener, isMillraceError, removeAbortListener, requireBoolean } from '../../core/index.js';
import type { BatchAnswer } from '../operations.js';
import { decodeFailure } from '../pipeline/item-failure.js';
import { BatchError, type BatchFailure } from './batch-error.js';
import { callOptions, findModel, finish, timeLeft } from './embed-call.js';
import { type BatchEmbedOptions, type EmbedOptions, requireEmbedOptions } from './embed-options.js';
import { type BatchInput, type CheckedInput, callersFolder, checkAny, sizeOf } from './image-input.js';
import { plainError } from './loaded-model.js';
import type { ModelRegistry } from './model-registry.js';
import type { FacadeSettings } from './pool-options.js';
import { movedError, readBytes } from './read-bytes.js';

/** One image of a settled batch. */
export type SettledEmbedding =
  | { readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly embedding?: undefined; readonly error: Error };

/** How many chunks of a batch are under way for each worker: one that runs, one that is made ready. */
const CHUNKS_PER_WORKER = 2;

/** Bytes of images that travel in one chunk, unless a single one has more. */
const CHUNK_BYTES = 32_000_000;

const ACTION = 'Cannot embed batch';

/** Checks a call and embeds its images: all or nothing, or each for itself with `settle`. */
export async function embedBatch(
  registry: ModelRegistry,
  settings: FacadeSettings,
  inputs: readonly BatchInput[],
  options: BatchEmbedOptions | undefined,
): Promise<Float32Array[] | SettledEmbedding[]> {
  const given = requireEmbedOptions<BatchEmbedOptions>(ACTION, options, ['settle']);
  if (!Array.isArray(inputs)) throw new TypeError(`${ACTION}: inputs must be an array of paths or bytes`);
  const settle = given.settle === undefined ? false : requireBoolean(ACTION, 'settle', given.settle);
  // What becomes of the caller's array later concerns no batch.
  const batch: readonly BatchInput[] = [...inputs];
  const results = await embedEach(registry, settings, batch, given);
  if (settle) return results;
  const failures: BatchFailure[] = [];
  for (const [index, { error }] of results.entries()) {
    if (error !== undefined) failures.push({ index, input: batch[index] as BatchInput, error });
  }
  if (failures.length > 0) throw new BatchError(failures, batch.length);
  return results.map(({ embedding }) => embedding as Float32Array);
}

/** An image of a batch that passed the door. */
interface BatchItem {
  readonly index: number;
  readonly input: CheckedInput;
}

/** One that can be sent. */
interface BatchPart {
  readonly index: number;
  readonly source: string | Uint8Array;
}

/** Answers each image for itself; rejects when the model or the pool fails, or the call is given up. */
async function embedEach(
  registry: ModelRegistry,
  settings: FacadeSettings,
  inputs: readonly BatchInput[],
  options: Partial<EmbedOptions>,
): Promise<SettledEmbedding[]> {
  const results: SettledEmbedding[] = new Array(inputs.length);
  if (inputs.length === 0) return results;
  const started = performance.now();
  const { maxBytes } = settings;
  const items = checkEach(inputs, maxBytes, results);
  const loaded = await findModel(registry, ACTION, options, started);
  const { signal } = options;
  signal?.throwIfAborted();
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const listener = { onAbort: (reason: unknown) => controller.abort(reason) };
  if (signal !== undefined) addAbortListener(signal, listener);
  const queue = new PQueue({ concurrency: CHUNKS_PER_WORKER * settings.maxWorkers });

  const read = async ({ index, input }: BatchItem): Promise<string | Uint8Array | undefined> => {
    if (input.kind !== 'unread') return input.input;
    const limits = { maxBytes, signal: controller.signal, timeoutMs: timeLeft(options, started) };
    try {
      return await readBytes(ACTION, input, limits);
    } catch (error) {
      controller.signal.throwIfAborted();
      results[index] = { error: error as Error };
      return undefined;
    }
  };
  const embedChunk = async (chunk: readonly BatchItem[]): Promise<void> => {
    controller.signal.throwIfAborted();
    const sources = await Promise.all(chunk.map(read));
    const parts = chunk.map(({ index }, place) => ({ index, source: sources[place] }));
    await send(parts.filter((part): part is BatchPart => part.source !== undefined));
  };
  const send = async (parts: readonly BatchPart[]): Promise<void> => {
    if (parts.length === 0) return;
    const call = callOptions({ ...options, signal: controller.signal }, 'batch', started);
    const input = parts.map(({ source }) => source);
    try {
      unpackBatch(await loaded.handle.call('batchEmbedImages', input, call), parts.length, (place, result) => {
        results[(parts[place] as BatchPart).index] =
          'error' in result ? result : { embedding: finish(result.embedding, options) };
      });
    } catch (error) {
      if (isMillraceError(error, 'ERR_WORKER_CRASHED')) {
        // One of them has ended more than one worker: it is the one that fails, and no other.
        const [first] = parts as [BatchPart];
        if (parts.length === 1) results[first.index] = { error };
        else await Promise.all(parts.map((part) => send([part])));
        return;
      }
      const moved = movedError(ACTION, error);
      const left = parts.filter(({ source }) => source.length > 0);
      if (moved === error || left.length === parts.length) throw error;
      // Those whose bytes are gone take no other along.
      for (const part of parts) if (!left.includes(part)) results[part.index] = { error: moved as Error };
      await send(left);
    }
  };

  try {
    await Promise.all(inChunks(items, loaded.maxBatch).map((chunk) => queue.add(() => embedChunk(chunk))));
  } catch (error) {
    // The chunks that are still under way would work for nobody.
    queue.clear();
    controller.abort(error);
    throw plainError(error);
  } finally {
    if (signal !== undefined) removeAbortListener(signal, listener);
  }
  return results;
}

/** The images that can be tried; of the others the results say why not. */
function checkEach(inputs: readonly BatchInput[], maxBytes: number, results: SettledEmbedding[]): BatchItem[] {
  const folder = callersFolder();
  const items: BatchItem[] = [];
  for (const [index, value] of inputs.entries()) {
    try {
      items.push({ index, input: checkAny(ACTION, value, { folder, maxBytes, fetchesUrls: false }) });
    } catch (error) {
      results[index] = { error: error as Error };
    }
  }
  return items;
}

/** Chunks of at most so many images, and of no more bytes than cross at once without trouble. */
function inChunks(items: readonly BatchItem[], maxBatch: number): BatchItem[][] {
  const chunks: BatchItem[][] = [];
  let chunk: BatchItem[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item.input) ?? CHUNK_BYTES;
    if (chunk.length === maxBatch || (chunk.length > 0 && bytes + size > CHUNK_BYTES)) {
      chunks.push(chunk);
      chunk = [];
      bytes = 0;
    }
    chunk.push(item);
    bytes += size;
  }
  if (chunk.length > 0) chunks.push(chunk);
  return chunks;
}

function unpackBatch(
  { vectors, dimension, failures }: BatchAnswer,
  count: number,
  set: (place: number, result: { readonly embedding: Float32Array } | { readonly error: Error }) => void,
): void {
  const failed = new Map(failures.map(({ index, failure }) => [index, failure]));
  for (let index = 0; index < count; index += 1) {
    const failure = failed.get(index);
    if (failure === undefined) set(index, { embedding: vectors.subarray(index * dimension, (index + 1) * dimension) });
    else set(index, { error: decodeFailure(failure) });
  }
}
