/** A batch of any size: in chunks of one inference batch, over all workers. */
import { setMaxListeners } from 'node:events';
import {
  addAbortListener,
  isMillraceError,
  removeAbortListener,
  requireBoolean,
  scheduleMacrotask,
} from '../../core/index.js';
import type { BatchAnswer } from '../operations.js';
import { decodeFailure } from '../pipeline/item-failure.js';
import { BatchError, type BatchFailure } from './batch-error.js';
import { callOptions, findModel, finish, timeLeft } from './embed-call.js';
import { type BatchEmbedOptions, type EmbedOptions, requireEmbedOptions } from './embed-options.js';
import { type BatchInput, type CheckedInput, callersFolder, checkAny, sizeOf } from './image-input.js';
import { type LoadedModel, plainError } from './loaded-model.js';
import type { ModelRegistry } from './model-registry.js';
import type { FacadeSettings } from './pool-options.js';
import { discard, movedError, readBytes } from './read-bytes.js';

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
  // Relative paths are meant from here, however late their turn comes.
  const folder = callersFolder();
  const { signal } = options;
  let loaded: LoadedModel;
  try {
    loaded = await findModel(registry, ACTION, options, started);
    signal?.throwIfAborted();
  } catch (error) {
    discardRest(inputs.entries(), maxBytes);
    throw error;
  }
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const listener = { onAbort: (reason: unknown) => controller.abort(reason) };
  if (signal !== undefined) addAbortListener(signal, listener);
  const entries = inputs.entries();
  const chunks = chunksOf(entries, { folder, maxBytes, maxBatch: loaded.maxBatch }, (index, error) => {
    results[index] = { error };
  });

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
    if (controller.signal.aborted) {
      for (const { input } of chunk) if (input.kind === 'unread') discard(input);
      throw controller.signal.reason;
    }
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

  // Each takes the next chunk when it has the answer to its last: a batch of a million is not made ready at once.
  const lane = async (): Promise<void> => {
    for (let next = chunks.next(); next.done !== true; next = chunks.next()) {
      await embedChunk(next.value);
      // Nothing was sent that would have let the event loop turn.
      if (next.value.length === 0) await new Promise<void>((resolve) => scheduleMacrotask(resolve));
    }
  };

  try {
    await Promise.all(Array.from({ length: CHUNKS_PER_WORKER * settings.maxWorkers }, lane));
  } catch (error) {
    // The chunks that are still under way would work for nobody.
    controller.abort(error);
    chunks.return();
    discardRest(entries, maxBytes);
    throw plainError(error);
  } finally {
    if (signal !== undefined) removeAbortListener(signal, listener);
  }
  return results;
}

/** What images of a batch are checked against, and gathered into. */
interface ChunkRules {
  readonly folder: string | undefined;
  readonly maxBytes: number;
  readonly maxBatch: number;
}

/**
 * Chunks of at most so many images, and of no more bytes than cross at once without trouble. Images are checked as their chunk is made; those that
 * can't be tried are told of, and count, so that none takes long to make.
 */
function* chunksOf(
  inputs: Iterator<[number, BatchInput]>,
  { folder, maxBytes, maxBatch }: ChunkRules,
  fail: (index: number, error: Error) => void,
): Generator<BatchItem[], void, void> {
  let chunk: BatchItem[] = [];
  let bytes = 0;
  let count = 0;
  for (let next = inputs.next(); next.done !== true; next = inputs.next()) {
    const [index, value] = next.value;
    let item: BatchItem | undefined;
    try {
      item = { index, input: checkAny(ACTION, value, { folder, maxBytes, fetchesUrls: false }) };
    } catch (error) {
      fail(index, error as Error);
    }
    const size = item === undefined ? 0 : (sizeOf(item.input) ?? CHUNK_BYTES);
    if (count === maxBatch || (chunk.length > 0 && bytes + size > CHUNK_BYTES)) {
      let isGoingOn = false;
      try {
        yield chunk;
        isGoingOn = true;
      } finally {
        if (!isGoingOn && item?.input.kind === 'unread') discard(item.input);
      }
      chunk = [];
      bytes = 0;
      count = 0;
    }
    if (item !== undefined) chunk.push(item);
    bytes += size;
    count += 1;
  }
  yield chunk;
}

/** Cancels what was to be read, for a batch that is given up. */
function discardRest(inputs: Iterable<[number, BatchInput]>, maxBytes: number): void {
  for (const [, value] of inputs) {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) continue;
    try {
      const input = checkAny(ACTION, value, { folder: undefined, maxBytes, fetchesUrls: false });
      if (input.kind === 'unread') discard(input);
    } catch {
      // It would have failed for itself.
    }
  }
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
