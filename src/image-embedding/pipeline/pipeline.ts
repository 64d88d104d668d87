/**
 * An image's way through a worker: read, decode, join a batch, run.
 *
 * Invariants:
 * - While a batch runs no JavaScript does, so decodes that are to go on meanwhile have been handed to sharp before: `decodeConcurrency` is at
 *   least one whole batch. For the same reason images are read before it is their turn to be decoded, and a run waits a little for those that are
 *   being read (see `Batches`).
 * - All operations share one batch, and identical images one decode and one place in it (see `Picture`).
 * - A single image is in the next batch after the one that runs as it comes, whatever else there is: it is first in line for decoding and for
 *   the batch, and a batch of others waits while it is being decoded (see `Batches`). A single image that is the same as one of the bulk takes
 *   that one along.
 */
import PQueue from 'p-queue';
import { HostQueues } from '../sources/host-queues.js';
import type { SourceKind } from '../sources/read-source.js';
import { waitFor } from '../wait-for.js';
import { Batches } from './batches.js';
import { type Digest, type Picture, Pictures } from './picture.js';
import { type HeldBytes, ReadAhead } from './read-ahead.js';

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
  /** Runs them through the model. When it fails, halves of them are run again. */
  readonly run: (images: readonly Uint8Array[]) => Promise<readonly Float32Array[]>;
  readonly maxBatch: number;
  /** How long the first image of a batch waits for others while the model is free, in ms. */
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
  /** Settles once the calls that have arrived, in part too, have begun; undefined where there are none. */
  readonly arriving?: (() => Promise<void> | undefined) | undefined;
}

const SINGLE = 1;
const BULK = 0;

const READ_AHEAD_BYTES = 64_000_000;

/** Takes images from any operation to their vectors. */
export class EmbeddingPipeline {
  readonly #parts: PipelineParts;
  readonly #fetches: HostQueues;
  readonly #singleReads: ReadAhead;
  readonly #bulkReads: ReadAhead;
  readonly #pictures: Pictures;
  readonly #gate: DecodeGate;
  readonly #batches: Batches<Picture, Float32Array>;
  /** Images that sharp is at. */
  #handedOver = 0;

  constructor(parts: PipelineParts) {
    const { maxBatch, maxDelayMs, arriving } = parts;
    this.#parts = parts;
    this.#fetches = new HostQueues(parts.fetchConcurrency);
    this.#singleReads = new ReadAhead(parts.readAheadBytes ?? READ_AHEAD_BYTES);
    this.#bulkReads = new ReadAhead(parts.readAheadBytes ?? READ_AHEAD_BYTES);
    this.#pictures = new Pictures(parts.digest);
    this.#gate = new DecodeGate(parts);
    this.#batches = new Batches<Picture, Float32Array>({
      run: (pictures) => {
        this.#gate.noteBatch(pictures.length);
        return parts.run(pictures.map(({ pixels }) => pixels));
      },
      maxBatch,
      maxDelayMs,
      arriving,
      isNextReady: () => this.#handedOver >= maxBatch,
    });
  }

  /** Embeds one image. */
  embed(kind: SourceKind, input: unknown, signal: AbortSignal | undefined): Promise<Float32Array> {
    return this.#embed(kind, input, signal, false);
  }

  /** Embeds one image of many, which gives way to those of `embed`. */
  embedBulk(kind: SourceKind, input: unknown, signal: AbortSignal | undefined): Promise<Float32Array> {
    return this.#embed(kind, input, signal, true);
  }

  /** Resolves when no image is left in front of the model. */
  idle(): Promise<void> {
    return this.#batches.idle();
  }

  async #embed(
    kind: SourceKind,
    input: unknown,
    signal: AbortSignal | undefined,
    isBulk: boolean,
  ): Promise<Float32Array> {
    const fetched = kind === 'url' ? await this.#fetch(input, signal, isBulk) : undefined;
    const decoding = this.#decodeShared(kind, input, fetched, signal, isBulk);
    if (!isBulk) {
      this.#gate.expect(decoding);
      this.#batches.hold('single', decoding);
    }
    return (await decoding).vector;
  }

  /** Downloads ahead of the queue for decoding: a slow server holds up its own downloads only. */
  #fetch(input: unknown, signal: AbortSignal | undefined, isBulk: boolean): Promise<Uint8Array> {
    const read = (): Promise<Uint8Array> => {
      signal?.throwIfAborted();
      return this.#parts.read('url', input, signal);
    };
    const fetched = waitFor(this.#fetches.add(input, read, { priority: isBulk ? BULK : SINGLE }), signal);
    if (!isBulk) this.#batches.hold('fetch', fetched);
    return fetched;
  }

  /** Has an image read and decoded, or shares the work for an identical one. Resolves once its pixels wait for a run. */
  async #decodeShared(
    kind: SourceKind,
    input: unknown,
    fetched: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    isBulk: boolean,
  ): Promise<{ readonly vector: Promise<Float32Array> }> {
    const held = await this.#read(kind, input, fetched, signal, isBulk);
    const picture = await this.#share(held, isBulk, signal);
    const vector = picture.wait(signal);
    await Promise.race([picture.decoded, vector]);
    return { vector };
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
    this.#batches.hold('step', reading);
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
      this.#gate.add(picture, () => this.#decode(picture));
      return picture;
    }
    held.release();
    if (twin.isBulk && !isBulk) this.#gate.promote(twin);
    return twin;
  }

  async #decode(picture: Picture): Promise<void> {
    const bytes = picture.beginDecode();
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
      this.#batches.hold('step', handedOver);
      picture.endDecode((await decoding) as Uint8Array);
      if (picture.isSettled) return;
      this.#batches.add(picture);
      void picture.over.then(() => this.#batches.remove(picture));
    } catch (error) {
      picture.fail(error);
    } finally {
      if (isHandedOver) this.#handedOver -= 1;
    }
  }

  /** How many images wait for their servers, or for others of the same server. */
  get parked(): number {
    return this.#fetches.pending + this.#fetches.size;
  }

  /** How many images are on their way, by stage. */
  get load(): { readonly fetching: number; readonly decoding: number; readonly waiting: number } {
    const reads = [this.#singleReads, this.#bulkReads];
    const reading = reads.reduce((sum, each) => sum + each.reading + each.waiting, 0);
    return {
      fetching: this.#fetches.pending,
      decoding: this.#gate.decoding,
      waiting: this.#fetches.size + this.#gate.waiting + this.#batches.length + reading,
    };
  }
}

/** Decodes of bulk outstanding at least: what keeps up to four threads of libuv's pool busy. */
const MIN_BULK_DECODES = 4;

/**
 * The order in which images are decoded: single ones first, then bulk.
 *
 * Invariants:
 * - What sharp has been given can't be overtaken, in the line for libuv's threads. So of bulk it is given no more than fits into one run: while
 *   batches stay small, because decoding is what takes the time, a few; as they grow, a whole one; and while a single image is on its way, so few
 *   that a thread is free for it.
 * - Bulk never has more than `2 * maxBatch - 1` images (and 2, so that one is decoded while one runs) between decode and vector: pixels take memory.
 * - The queue runs as many at once as there are single images in it, and as many more as bulk may have, `decodeConcurrency` at most. Single images
 *   start first, so bulk has no more than its share.
 */
class DecodeGate {
  readonly #queue = new PQueue({ concurrency: 1 });
  readonly #parts: Pick<PipelineParts, 'decodeConcurrency' | 'threads'>;
  readonly #bulkPlaces: number;
  #bulkLimit: number;
  /** Single images between their request and their pixels. */
  #expected = 0;
  /** Images of bulk that were decoded and have no vector yet. */
  #ahead = 0;
  /** Images until they are decoded, with their names in the queue. */
  readonly #images = new Map<Picture, string>();
  #ids = 0;

  constructor(parts: Pick<PipelineParts, 'decodeConcurrency' | 'threads' | 'maxBatch'>) {
    this.#parts = parts;
    this.#bulkPlaces = Math.max(2, 2 * parts.maxBatch - 1);
    this.#bulkLimit = Math.min(MIN_BULK_DECODES, parts.decodeConcurrency);
    this.#adjust();
  }

  /** How many images are being decoded. */
  get decoding(): number {
    return this.#queue.pending;
  }

  /** How many wait for their turn. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Leaves a thread to a single image until that has its pixels. */
  expect(single: Promise<unknown>): void {
    this.#expected += 1;
    this.#adjust();
    const end = (): void => {
      this.#expected -= 1;
      this.#adjust();
    };
    single.then(end, end);
  }

  /** Decodes a picture when its turn has come, unless it is given up before. */
  add(picture: Picture, decode: () => Promise<void>): void {
    const id = String(++this.#ids);
    this.#images.set(picture, id);
    this.#adjust();
    const { signal, isBulk } = picture;
    this.#queue.add(decode, { priority: isBulk ? BULK : SINGLE, id, signal }).catch(() => {});
    // The queue starts another some microtasks later.
    void picture.decoded.then(() => this.#leave(picture));
  }

  #leave(picture: Picture): void {
    this.#images.delete(picture);
    if (picture.isBulk && !picture.isSettled) {
      this.#ahead += 1;
      void picture.over.then(() => {
        this.#ahead -= 1;
        this.#adjust();
      });
    }
    this.#adjust();
  }

  /** Moves a picture of bulk up to the single images. */
  promote(picture: Picture): void {
    picture.isBulk = false;
    const id = this.#images.get(picture);
    if (id !== undefined && picture.state.stage === 'encoded') this.#queue.setPriority(id, SINGLE);
    this.#adjust();
  }

  /** To be told of each batch before it runs: the larger they get, the more is decoded ahead. */
  noteBatch(size: number): void {
    this.#bulkLimit = Math.min(Math.max(MIN_BULK_DECODES, 2 * size), this.#parts.decodeConcurrency);
    this.#adjust();
  }

  #adjust(): void {
    const { threads, decodeConcurrency } = this.#parts;
    let singles = 0;
    let decodingBulk = 0;
    for (const { isBulk, state } of this.#images.keys()) {
      if (!isBulk) singles += 1;
      else if (state.stage === 'decoding') decodingBulk += 1;
    }
    // While a single image is on its way, half of the threads are for that one.
    const limit = this.#expected > 0 ? Math.min(Math.max(1, threads >> 1), this.#bulkLimit) : this.#bulkLimit;
    const bulk = Math.max(decodingBulk, Math.min(limit, this.#bulkPlaces - this.#ahead));
    const concurrency = Math.min(decodeConcurrency, singles + bulk);
    if (concurrency <= 0) {
      this.#queue.pause();
      return;
    }
    this.#queue.concurrency = concurrency;
    if (this.#queue.isPaused) this.#queue.start();
  }
}
