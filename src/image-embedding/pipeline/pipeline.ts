/**
 * An image's way through a worker: read, decode, join a batch, run.
 *
 * Invariants:
 * - While a batch runs no JavaScript does, so decodes that are to go on meanwhile have been handed to sharp before: `decodeConcurrency` is at
 *   least one whole batch, and a decode's place is free again as soon as its image waits for a batch.
 * - All operations share one batch.
 * - A single image is in the next batch after the one that runs as it comes, whatever else there is: it is first in line for decoding and for
 *   the batch, and a batch of others waits while it is being decoded (see `RunQueue`).
 * - What sharp has been given can't be overtaken, in the line for libuv's threads. So of batch operations it is given no more than fits into one
 *   run: while batches stay small, because decoding is what takes the time, a few; as they grow, a whole one; and while a single image is on its
 *   way, so few that a thread is free for it.
 * - Images of a batch operation or a stream never occupy more than `2 * maxBatch - 1` places between decode and result: pixels take memory.
 */
import PQueue from 'p-queue';
import type { SourceKind } from '../sources/read-source.js';
import { encodeFailure, type ItemFailure } from './item-failure.js';
import { type Arrival, type Runner, RunQueue } from './run-queue.js';

/** The parts of a pipeline. */
export interface PipelineParts {
  /** Brings in the encoded bytes of an image. */
  readonly read: (kind: SourceKind, input: unknown, signal: AbortSignal | undefined) => Promise<Uint8Array>;
  /** Makes pixels of them. */
  readonly decode: (bytes: Uint8Array, signal: AbortSignal | undefined) => Promise<Uint8Array>;
  /** Runs them through the model. */
  readonly runner: Runner<Uint8Array, Float32Array>;
  readonly maxBatch: number;
  /** How long the first image of a batch waits for company while the model is free, in ms. */
  readonly maxDelayMs: number;
  /** How many images are decoded at once, or wait in the line of libuv's threads. */
  readonly decodeConcurrency: number;
  /** How many threads libuv's pool has. */
  readonly threads: number;
  /** How many URLs are fetched at once. */
  readonly fetchConcurrency: number;
}

/** What became of the images of a batch operation. */
export interface PipelineBatch {
  readonly embeddings: readonly (Float32Array | undefined)[];
  readonly failures: readonly { readonly index: number; readonly failure: ItemFailure }[];
}

const SINGLE = 1;
const BULK = 0;

/** Decodes of batch operations outstanding at least: what keeps up to four threads of libuv's pool busy. */
const MIN_BULK_DECODES = 4;

/** Takes images from any operation to their vectors. */
export class EmbeddingPipeline {
  readonly #parts: PipelineParts;
  readonly #decodes: PQueue;
  readonly #fetches: PQueue;
  readonly #bulk: PQueue;
  readonly #bulkDecodes: PQueue;
  readonly #runs: RunQueue<Uint8Array, Float32Array>;
  #bulkDecodeLimit: number;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
    this.#decodes = new PQueue({ concurrency: parts.decodeConcurrency });
    this.#fetches = new PQueue({ concurrency: parts.fetchConcurrency });
    this.#bulk = new PQueue({ concurrency: 2 * parts.maxBatch - 1 });
    this.#bulkDecodeLimit = Math.min(MIN_BULK_DECODES, parts.decodeConcurrency);
    this.#bulkDecodes = new PQueue({ concurrency: this.#bulkDecodeLimit });
    this.#runs = new RunQueue({
      runner: parts.runner,
      maxBatch: parts.maxBatch,
      maxDelayMs: parts.maxDelayMs,
      isDecoding: () => this.#decodes.pending + this.#decodes.size + this.#bulk.pending > 0,
    });
  }

  /** To be told of a single image that is still being received, by what settles once it is. */
  announce(arrived: Promise<void>): void {
    this.#runs.announce(arrived, false);
  }

  /** Embeds one image. */
  async embed(kind: SourceKind, input: unknown, signal: AbortSignal | undefined): Promise<Float32Array> {
    const fetched = await this.#fetch(kind, input, signal, SINGLE);
    return this.#embed(kind, input, fetched, signal, SINGLE);
  }

  /** Embeds one image of a stream, which gives way to those of `embed`. It takes a place among the bulk once it is fetched. */
  async embedBulk(kind: SourceKind, input: unknown, signal: AbortSignal | undefined): Promise<Float32Array> {
    const fetched = await this.#fetch(kind, input, signal, BULK);
    return this.#bulk.add(() => this.#embed(kind, input, fetched, signal, BULK), queued(BULK, signal));
  }

  /** Embeds many; those that fail are named beside those that don't. Rejects only when the whole is given up. */
  async embedAll(
    kind: SourceKind,
    inputs: readonly unknown[],
    signal: AbortSignal | undefined,
  ): Promise<PipelineBatch> {
    const embeddings: (Float32Array | undefined)[] = new Array(inputs.length).fill(undefined);
    const failures: { index: number; failure: ItemFailure }[] = [];
    await Promise.all(
      inputs.map((input, index) =>
        this.#bulk.add(async () => {
          if (signal?.aborted) return;
          try {
            // One signal for a thousand images would gather a listener from each: whether it aborted is looked up instead, at each stage.
            embeddings[index] = await this.#embed(kind, input, undefined, undefined, BULK, signal);
          } catch (error) {
            failures.push({ index, failure: encodeFailure(error) });
          }
        }),
      ),
    );
    signal?.throwIfAborted();
    return { embeddings, failures: failures.sort((one, other) => one.index - other.index) };
  }

  /** Downloads ahead of the queue for decoding: a slow server holds up other downloads only. */
  async #fetch(
    kind: SourceKind,
    input: unknown,
    signal: AbortSignal | undefined,
    priority: number,
  ): Promise<Uint8Array | undefined> {
    if (kind !== 'url') return undefined;
    const fetched = this.#fetches.add(() => this.#parts.read(kind, input, signal), queued(priority, signal));
    if (priority === SINGLE) this.#runs.announce(fetched, true);
    return fetched;
  }

  async #embed(
    kind: SourceKind,
    input: unknown,
    fetched: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    priority: number,
    whole?: AbortSignal,
  ): Promise<Float32Array> {
    const { read, decode } = this.#parts;
    const isBulk = priority === BULK;
    const arrival = isBulk ? undefined : this.#expect();
    const decodeIt = () =>
      this.#decodes.add(
        async () => {
          whole?.throwIfAborted();
          const bytes = fetched ?? (await read(kind, input, signal));
          whole?.throwIfAborted();
          return decode(bytes, signal);
        },
        queued(priority, signal),
      );
    let embedding: Promise<Float32Array>;
    try {
      const pixels = await (isBulk ? this.#bulkDecodes.add(decodeIt) : decodeIt());
      whole?.throwIfAborted();
      embedding = this.#runs.add(pixels, isBulk, signal);
    } finally {
      if (arrival !== undefined) this.#end(arrival);
    }
    return embedding;
  }

  #expect(): Arrival {
    const arrival = this.#runs.expect();
    this.#limitBulkDecodes();
    return arrival;
  }

  #end(arrival: Arrival): void {
    arrival.end();
    this.#limitBulkDecodes();
  }

  #limitBulkDecodes(): void {
    const limit = this.#bulkDecodeLimit;
    // While a single image is on its way, half of the threads are for that one.
    const besideSingles = Math.max(1, this.#parts.threads >> 1);
    this.#bulkDecodes.concurrency = this.#runs.arriving > 0 ? Math.min(besideSingles, limit) : limit;
  }

  /** To be told of each batch before it runs: the larger they get, the more is decoded ahead. */
  noteBatch(size: number): void {
    const wanted = Math.max(MIN_BULK_DECODES, 2 * size);
    this.#bulkDecodeLimit = Math.min(wanted, this.#parts.decodeConcurrency);
    this.#limitBulkDecodes();
  }

  /** How many images are on their way, by stage. */
  get load(): { readonly fetching: number; readonly decoding: number; readonly waiting: number } {
    const waiting =
      this.#decodes.size + this.#fetches.size + this.#bulkDecodes.size + this.#bulk.size + this.#runs.length;
    return { fetching: this.#fetches.pending, decoding: this.#decodes.pending, waiting };
  }
}

function queued(priority: number, signal: AbortSignal | undefined): { priority: number; signal?: AbortSignal } {
  return signal === undefined ? { priority } : { priority, signal };
}
