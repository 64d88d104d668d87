/**
 * Decoded images in front of the model, and what goes into the next run of it.
 *
 * Invariants:
 * - One run at a time. Single images come first, images of batch operations and streams (the bulk) fill the batch up.
 * - During a run no JavaScript does, so at its end nothing is known yet of what was decoded or asked for meanwhile. The event loop turns before
 *   the next batch is made up.
 * - A batch with bulk in it waits for the single images that are on their way by then: a run that one of them just missed would hold it up for
 *   the whole of a second one. Those that come later do not prolong the wait. One that is still being fetched is waited for too, as long as
 *   that costs bulk little.
 */
import { type AbortListener, addAbortListener, removeAbortListener, scheduleMacrotask } from '../../core/index.js';
import { inNeutralContext } from '../../worker/internal.js';

/** What makes a batch of images out of those that it is given at once, and runs it. */
export interface Runner<Item, Result> {
  add(item: Item, options: { readonly signal?: AbortSignal | undefined }): Promise<Result>;
}

/** Options of a {@link RunQueue}. */
export interface RunQueueOptions<Item, Result> {
  readonly runner: Runner<Item, Result>;
  readonly maxBatch: number;
  /** How long the first image of a batch waits for company while the model is free, in ms. */
  readonly maxDelayMs: number;
  /** Whether images are being decoded or wait for that, as far as it is known elsewhere. */
  readonly isDecoding: () => boolean;
  /** Whether as many images as the next run takes have been handed to sharp. */
  readonly isNextReady?: (() => boolean) | undefined;
}

/** The longest that bulk waits for a single image, in ms: one that takes longer to decode does so during the run. */
const HOLD_MS = 1_000;

/** The part of a run's time that it waits, before it, for images that are being read: what is not handed to sharp before it is decoded only after it. */
const READ_SHARE = 0.25;

/** The part of a run's time that bulk waits, after it, for single images that are still being fetched: a slow server would cost it any. */
const FETCH_SHARE = 0.25;

/**
 * Turns of the event loop after a run, and after a message: one brings in messages and finished decodes, the worker's loop may let two more pass
 * before it takes what came, and the next begins what they ask for. A turn with nothing in it takes microseconds.
 */
const TURNS = 6;

/** A single image between its request and its pixels. */
export class Arrival {
  readonly arrived: Promise<void>;
  readonly #end: () => void;

  constructor(onEnd: (arrival: Arrival) => void) {
    let resolve: () => void = () => undefined;
    this.arrived = new Promise<void>((settle) => {
      resolve = settle;
    });
    this.#end = () => {
      onEnd(this);
      resolve();
    };
  }

  /** It has come, or never will. */
  end(): void {
    this.#end();
  }
}

class Entry<Item, Result> implements AbortListener {
  readonly item: Item;
  readonly signal: AbortSignal | undefined;
  readonly promise: Promise<Result>;
  readonly #leave: (entry: Entry<Item, Result>) => void;
  #resolve!: (result: Promise<Result>) => void;
  #reject!: (reason: unknown) => void;

  constructor(item: Item, signal: AbortSignal | undefined, leave: (entry: Entry<Item, Result>) => void) {
    this.item = item;
    this.signal = signal;
    this.#leave = leave;
    this.promise = new Promise<Result>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (signal !== undefined) addAbortListener(signal, this);
  }

  onAbort(reason: unknown): void {
    this.#leave(this);
    this.#reject(reason);
  }

  /** Settles as the run does, and ignores the signal from now on: the runner listens to it. */
  follow(result: Promise<Result>): void {
    if (this.signal !== undefined) removeAbortListener(this.signal, this);
    this.#resolve(result);
  }
}

/** Lines images up for a model. */
export class RunQueue<Item, Result> {
  readonly #options: RunQueueOptions<Item, Result>;
  readonly #singles: Entry<Item, Result>[] = [];
  readonly #bulk: Entry<Item, Result>[] = [];
  readonly #arrivals = new Set<Arrival>();
  readonly #received = new Set<Promise<unknown>>();
  readonly #fetched = new Set<Promise<unknown>>();
  readonly #soon = new Set<Promise<unknown>>();
  #lastRunMs = 0;
  readonly #onArrivalEnd = (arrival: Arrival): void => void this.#arrivals.delete(arrival);
  #isWorking = false;
  #onLength: (() => void) | undefined;

  constructor(options: RunQueueOptions<Item, Result>) {
    this.#options = options;
  }

  /** How many images wait for a run. */
  get length(): number {
    return this.#singles.length + this.#bulk.length;
  }

  /** How many single images are on their way. */
  get arriving(): number {
    return this.#arrivals.size;
  }

  /** Announces a single image, which bulk then waits for. */
  expect(): Arrival {
    const arrival = new Arrival(this.#onArrivalEnd);
    this.#arrivals.add(arrival);
    return arrival;
  }

  /**
   * Tells of a single image that is still being received, by what settles once it is; it is then expected within a few turns of the event loop.
   *
   * @param isFetched Whether it comes from a server, which may take as long as it likes, or from the caller.
   */
  announce(received: Promise<unknown>, isFetched: boolean): void {
    const announced = isFetched ? this.#fetched : this.#received;
    const expected = received.then(turns, turns).finally(() => announced.delete(expected));
    announced.add(expected);
  }

  /** Tells of a step that takes little and that must be over for an image to be decoded while the next run is on. */
  expectSoon(step: Promise<unknown>): void {
    const over = step.then(turn, turn).finally(() => this.#soon.delete(over));
    this.#soon.add(over);
  }

  /** Moves an image of the bulk up to the single ones; one that is in a run already, or not here, is left alone. */
  promote(item: Item): void {
    const index = this.#bulk.findIndex((entry) => entry.item === item);
    if (index >= 0) this.#singles.push(...this.#bulk.splice(index, 1));
  }

  /**
   * Adds an image.
   *
   * @param isBulk Whether it gives way to single images.
   * @returns What the run says of it. Rejects at once when the signal aborts.
   */
  add(item: Item, isBulk: boolean, signal: AbortSignal | undefined): Promise<Result> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const queue = isBulk ? this.#bulk : this.#singles;
    const entry = new Entry<Item, Result>(item, signal, (each) => {
      for (const waiting of [this.#singles, this.#bulk]) {
        const index = waiting.indexOf(each);
        if (index >= 0) waiting.splice(index, 1);
      }
    });
    queue.push(entry);
    this.#onLength?.();
    if (!this.#isWorking) {
      this.#isWorking = true;
      const isAlone = this.#isAlone();
      // It goes on for images of other callers.
      void inNeutralContext(() => this.#work(isAlone));
    }
    return entry.promise;
  }

  /** Whether no image is on its way but the one that is being added. */
  #isAlone(): boolean {
    const arriving = Math.max(0, this.#arrivals.size - 1) + this.#received.size + this.#fetched.size;
    return arriving === 0 && !this.#options.isDecoding();
  }

  async #work(isAlone: boolean): Promise<void> {
    // What else was decoded in the same turn of the loop is seen by the end of it.
    if (!isAlone) await turn();
    while (this.length > 0) {
      await this.#waitForCompany();
      await this.#waitForSingles();
      await this.#waitForSoon();
      const batch = this.#take();
      const begun = performance.now();
      await Promise.allSettled(batch.map((entry) => this.#run(entry)));
      this.#lastRunMs = performance.now() - begun;
      await turns();
    }
    this.#isWorking = false;
  }

  #run(entry: Entry<Item, Result>): Promise<Result> {
    entry.follow(this.#options.runner.add(entry.item, { signal: entry.signal }));
    return entry.promise;
  }

  #take(): Entry<Item, Result>[] {
    const { maxBatch } = this.#options;
    const batch = this.#singles.splice(0, maxBatch);
    return batch.concat(this.#bulk.splice(0, maxBatch - batch.length));
  }

  async #waitForCompany(): Promise<void> {
    const { maxBatch, maxDelayMs } = this.#options;
    if (maxDelayMs === 0 || this.length >= maxBatch) return;
    await this.#within(maxDelayMs, (done) => {
      this.#onLength = () => {
        if (this.length >= maxBatch) done();
      };
    });
    this.#onLength = undefined;
  }

  async #waitForSingles(): Promise<void> {
    await this.#waitFor(this.#received, HOLD_MS);
    await this.#waitFor(this.#fetched, Math.min(HOLD_MS, FETCH_SHARE * this.#lastRunMs));
    await this.#waitFor(
      [...this.#arrivals].map((each) => each.arrived),
      HOLD_MS,
    );
  }

  async #waitForSoon(): Promise<void> {
    const ms = Math.min(HOLD_MS, READ_SHARE * this.#lastRunMs);
    if (this.#soon.size === 0 || ms < 1 || this.#options.isNextReady?.() !== false) return;
    const handedOver = Promise.all(this.#soon);
    await this.#within(ms, (done) => void handedOver.then(done));
  }

  async #waitFor(images: Iterable<Promise<unknown>>, ms: number): Promise<void> {
    const isBulkIn = this.#bulk.length > 0 && this.#singles.length < this.#options.maxBatch;
    const all = [...images];
    if (!isBulkIn || all.length === 0 || ms < 1) return;
    const settled = Promise.all(all);
    await this.#within(ms, (done) => void settled.then(done));
  }

  #within(ms: number, wait: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wait(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => scheduleMacrotask(resolve));
}

async function turns(): Promise<void> {
  for (let count = 0; count < TURNS; count += 1) await turn();
}
