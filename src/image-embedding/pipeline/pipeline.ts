/**
 * An image's way through a worker: read, decode, join a batch, run.
 *
 * Invariants:
 * - While a batch runs no JavaScript does, so decodes that are to go on meanwhile have been handed to sharp before: `decodeConcurrency` is at
 *   least one whole batch, and a decode's place is free again as soon as its image waits for a batch. For the same reason images are read before
 *   it is their turn to be decoded, and a run waits a little for those that are being read (see `RunQueue`).
 * - All operations share one batch, and identical images one decode and one place in it (see `Picture`).
 * - A single image is in the next batch after the one that runs as it comes, whatever else there is: it is first in line for decoding and for
 *   the batch, and a batch of others waits while it is being decoded (see `RunQueue`). A single image that is the same as one of the bulk takes
 *   that one along.
 * - What sharp has been given can't be overtaken, in the line for libuv's threads. So of batch operations it is given no more than fits into one
 *   run: while batches stay small, because decoding is what takes the time, a few; as they grow, a whole one; and while a single image is on its
 *   way, so few that a thread is free for it.
 * - Images of a batch operation or a stream never occupy more than `2 * maxBatch - 1` places (and 2, so that one is decoded while one runs)
 *   between decode and result: pixels take memory.
 */
import PQueue from 'p-queue';
import { HostQueues } from '../sources/host-queues.js';
import type { SourceKind } from '../sources/read-source.js';
import { waitFor } from '../wait-for.js';
import { type Digest, type Picture, Pictures } from './picture.js';
import { type HeldBytes, ReadAhead } from './read-ahead.js';
import { type Arrival, type Runner, RunQueue } from './run-queue.js';

/** The parts of a pipeline. */
export interface PipelineParts {
  /** Brings in the encoded bytes of an image. */
  readonly read: (kind: SourceKind, input: unknown, signal: AbortSignal | undefined) => Promise<Uint8Array>;
  /** Makes pixels of them, and tells when sharp has what it needs to go on while no JavaScript runs. */
  readonly decode: (
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
    onHandedOver: () => void,
  ) => Promise<Uint8Array>;
  /** Runs them through the model. */
  readonly runner: Runner<Uint8Array, Float32Array>;
  readonly maxBatch: number;
  /** How long the first image of a batch waits for company while the model is free, in ms. */
  readonly maxDelayMs: number;
  /** How many images are decoded at once, or wait in the line of libuv's threads. */
  readonly decodeConcurrency: number;
  /** How many threads libuv's pool has. */
  readonly threads: number;
  /** How many URLs of one host are fetched at once. */
  readonly fetchConcurrency: number;
  /** What tells images apart that are the same; undefined when each is to be run for itself. */
  readonly digest?: Digest | undefined;
  /** How many encoded bytes are read ahead of their decode at most, of single images and of the others each. */
  readonly readAheadBytes?: number | undefined;
}

const SINGLE = 1;
const BULK = 0;

const READ_AHEAD_BYTES = 64_000_000;

/** Decodes of batch operations outstanding at least: what keeps up to four threads of libuv's pool busy. */
const MIN_BULK_DECODES = 4;

/** Takes images from any operation to their vectors. */
export class EmbeddingPipeline {
  readonly #parts: PipelineParts;
  readonly #decodes: PQueue;
  readonly #fetches: HostQueues;
  readonly #bulk: PQueue;
  readonly #bulkDecodes: PQueue;
  readonly #singleReads: ReadAhead;
  readonly #bulkReads: ReadAhead;
  readonly #pictures: Pictures;
  readonly #runs: RunQueue<Uint8Array, Float32Array>;
  #bulkDecodeLimit: number;
  /** Images that sharp is at. */
  #handedOver = 0;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
    this.#decodes = new PQueue({ concurrency: parts.decodeConcurrency });
    this.#fetches = new HostQueues(parts.fetchConcurrency);
    this.#bulk = new PQueue({ concurrency: Math.max(2, 2 * parts.maxBatch - 1) });
    this.#bulkDecodeLimit = Math.min(MIN_BULK_DECODES, parts.decodeConcurrency);
    this.#bulkDecodes = new PQueue({ concurrency: this.#bulkDecodeLimit });
    this.#singleReads = new ReadAhead(parts.readAheadBytes ?? READ_AHEAD_BYTES);
    this.#bulkReads = new ReadAhead(parts.readAheadBytes ?? READ_AHEAD_BYTES);
    this.#pictures = new Pictures(parts.digest);
    this.#runs = new RunQueue({
      runner: parts.runner,
      maxBatch: parts.maxBatch,
      maxDelayMs: parts.maxDelayMs,
      isDecoding: () => this.#decodes.pending + this.#decodes.size + this.#bulk.pending > 0,
      isNextReady: () => this.#handedOver >= parts.maxBatch,
    });
  }

  /** To be told of a single image that is still being received, by what settles once it is. */
  announce(arrived: Promise<void>): void {
    this.#runs.announce(arrived, false);
  }

  /** Embeds one image. */
  async embed(kind: SourceKind, input: unknown, signal: AbortSignal | undefined): Promise<Float32Array> {
    const fetched = await this.#fetch(kind, input, signal, SINGLE);
    return this.#embed(kind, input, fetched, signal, false);
  }

  /** Embeds one image of many, which gives way to those of `embed`. */
  async embedBulk(kind: SourceKind, input: unknown, signal: AbortSignal | undefined): Promise<Float32Array> {
    const fetched = await this.#fetch(kind, input, signal, BULK);
    return this.#embed(kind, input, fetched, signal, true);
  }

  /** Downloads ahead of the queue for decoding: a slow server holds up its own downloads only. */
  async #fetch(
    kind: SourceKind,
    input: unknown,
    signal: AbortSignal | undefined,
    priority: number,
  ): Promise<Uint8Array | undefined> {
    if (kind !== 'url') return undefined;
    const read = (): Promise<Uint8Array> => {
      signal?.throwIfAborted();
      return this.#parts.read(kind, input, signal);
    };
    const fetched = waitFor(this.#fetches.add(input, read, { priority }), signal);
    if (priority === SINGLE) this.#runs.announce(fetched, true);
    return fetched;
  }

  async #embed(
    kind: SourceKind,
    input: unknown,
    fetched: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    isBulk: boolean,
  ): Promise<Float32Array> {
    const arrival = isBulk ? undefined : this.#expect();
    let vector: Promise<Float32Array>;
    try {
      const held = await this.#read(kind, input, fetched, signal, isBulk);
      const picture = await this.#share(held, isBulk, signal);
      vector = picture.wait(signal);
      await Promise.race([picture.queued, vector]);
    } finally {
      if (arrival !== undefined) this.#end(arrival);
    }
    return vector;
  }

  async #read(
    kind: SourceKind,
    input: unknown,
    fetched: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    isBulk: boolean,
  ): Promise<HeldBytes> {
    const bytes = kind === 'bytes' ? await this.#parts.read(kind, input, signal) : fetched;
    if (bytes !== undefined) return { bytes, release: () => {} };
    const reads = isBulk ? this.#bulkReads : this.#singleReads;
    const reading = reads.read(() => this.#parts.read(kind, input, signal), signal);
    this.#runs.expectSoon(reading);
    return reading;
  }

  /** The picture that these bytes are: one that is under way already, or a new one, whose work begins. */
  async #share(held: HeldBytes, isBulk: boolean, signal: AbortSignal | undefined): Promise<Picture> {
    let key: string | undefined;
    try {
      const digest = this.#pictures.keyOf(held.bytes);
      key = typeof digest === 'object' ? await digest : digest;
      signal?.throwIfAborted();
    } catch (error) {
      held.release();
      throw error;
    }
    const twin = this.#pictures.find(key);
    if (twin === undefined) {
      const picture = this.#pictures.add(key, held, isBulk);
      this.#begin(picture);
      return picture;
    }
    held.release();
    if (twin.isBulk && !isBulk) {
      twin.isBulk = false;
      // Whichever comes to it first decodes it; pixels that wait already move up.
      this.#begin(twin);
      if (twin.pixels !== undefined) this.#runs.promote(twin.pixels);
    }
    return twin;
  }

  #begin(picture: Picture): void {
    if (!picture.isBulk) {
      void this.#decodes.add(() => this.#decode(picture), { priority: SINGLE });
      return;
    }
    void this.#bulk.add(async () => {
      if (!picture.isBulk || picture.signal.aborted) return;
      await this.#bulkDecodes.add(() => this.#decodes.add(() => this.#decode(picture), { priority: BULK }));
      await picture.over;
    });
  }

  async #decode(picture: Picture): Promise<void> {
    const bytes = picture.take();
    if (bytes === undefined) return;
    let isHandedOver = false;
    try {
      let decoding: Promise<Uint8Array> | undefined;
      const handedOver = new Promise<void>((resolve) => {
        decoding = this.#parts.decode(bytes, picture.signal, () => {
          isHandedOver = true;
          this.#handedOver += 1;
          resolve();
        });
        decoding.then(
          () => resolve(),
          () => resolve(),
        );
      });
      this.#runs.expectSoon(handedOver);
      const pixels = (await decoding) as Uint8Array;
      picture.pixels = pixels;
      picture.follow(this.#runs.add(pixels, picture.isBulk, picture.signal));
    } catch (error) {
      picture.fail(error);
    } finally {
      if (isHandedOver) this.#handedOver -= 1;
    }
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

  /** How many images wait for their servers, or for others of the same server. */
  get parked(): number {
    return this.#fetches.pending + this.#fetches.size;
  }

  /** How many images are on their way, by stage. */
  get load(): { readonly fetching: number; readonly decoding: number; readonly waiting: number } {
    const reads = [this.#singleReads, this.#bulkReads];
    const waiting =
      this.#decodes.size +
      this.#fetches.size +
      this.#bulkDecodes.size +
      this.#bulk.size +
      this.#runs.length +
      reads.reduce((sum, each) => sum + each.reading + each.waiting, 0);
    return { fetching: this.#fetches.pending, decoding: this.#decodes.pending, waiting };
  }
}
