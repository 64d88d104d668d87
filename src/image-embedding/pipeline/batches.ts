/**
 * Decoded images in front of the model, and what goes into the next run of it.
 *
 * Invariants:
 * - One run at a time. Single images come first; images of batches and streams (the bulk) fill the batch up.
 * - During a run no JavaScript does, so at its end nothing is known yet of what was decoded or asked for meanwhile. The event loop turns before
 *   the next batch is made up.
 * - A batch with bulk in it waits for the single images that are on their way by then: a run that one of them just missed would hold it up for
 *   the whole of a second one. Those that come later do not prolong the wait.
 */
import { scheduleMacrotask } from '../../core/index.js';
import { type BatchItem, inNeutralContext, runBisected } from '../../worker/internal.js';

/** An image in front of the model. */
export interface QueuedImage<Result> extends BatchItem<Result> {
  /** Whether it gives way to single images. */
  readonly isBulk: boolean;
}

/** Options of {@link Batches}. */
export interface BatchesOptions<Image, Result> {
  /** Runs images through the model, `maxBatch` at most. When it fails, halves of them are run again. */
  readonly run: (images: readonly Image[]) => Promise<readonly Result[]>;
  readonly maxBatch: number;
  /** How long the first image of a batch waits for others while the model is free, in ms. */
  readonly maxDelayMs: number;
  /** Whether as many images as the next run takes have been handed to sharp. */
  readonly isNextReady?: (() => boolean) | undefined;
  /** Settles once the calls that have arrived, in part too, have begun; undefined where there are none. */
  readonly arriving?: (() => Promise<void> | undefined) | undefined;
}

/** What a run may be held up by. */
export type Hold =
  /** A single image between its request and its pixels. */
  | 'single'
  /** A single image that is being fetched. */
  | 'fetch'
  /** A short step before an image is at sharp: what is not there before a run is decoded only after it. */
  | 'step';

/** The longest that bulk waits for a single image, in ms: one that takes longer to decode does so during the run. */
const HOLD_MS = 1_000;

/** The part of the last run's time that a run is held up by fetches, and by steps: a slow server would cost bulk any time. */
const SHARES = { fetch: 0.25, step: 0.25 };

/**
 * Turns of the event loop after a run, and after a message: one brings in messages and finished decodes, the worker's loop may let two more pass
 * before it takes what came, and the next begins what they ask for. A turn with nothing in it takes microseconds.
 */
const TURNS = 6;

/** Lines images up for a model. */
export class Batches<Image extends QueuedImage<Result>, Result> {
  readonly #options: BatchesOptions<Image, Result>;
  readonly #images: Image[] = [];
  readonly #holds: Record<Hold, Set<Promise<unknown>>> = { single: new Set(), fetch: new Set(), step: new Set() };
  #lastRunMs = 0;
  #working: Promise<void> | undefined;
  #onAdded: (() => void) | undefined;

  constructor(options: BatchesOptions<Image, Result>) {
    this.#options = options;
  }

  /** How many images wait for a run. */
  get length(): number {
    return this.#images.length;
  }

  /** How many single images are on their way. */
  get arriving(): number {
    return this.#holds.single.size;
  }

  /** Adds an image, which a later run answers. */
  add(image: Image): void {
    this.#images.push(image);
    this.#onAdded?.();
    // It goes on for images of other callers.
    this.#working ??= inNeutralContext(() => this.#work());
  }

  /** Takes an image out that was given up. */
  remove(image: Image): void {
    const index = this.#images.indexOf(image);
    if (index >= 0) this.#images.splice(index, 1);
  }

  /** Holds up runs with bulk in them, within the bounds of its kind, until something settles. */
  hold(kind: Hold, until: Promise<unknown>): void {
    const holds = this.#holds[kind];
    const end = (): void => void holds.delete(over);
    // A fetched image is expected a few turns later, and what a step leads to in the next.
    const after = kind === 'single' ? noTurn : kind === 'fetch' ? turns : turn;
    const over: Promise<void> = until.then(after, after).then(end);
    holds.add(over);
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    // What else was decoded in the same turn of the loop is seen by the end of it.
    await turn();
    while (this.length > 0) {
      await this.#waitForMore();
      await this.#waitForSingles();
      await this.#waitForSteps();
      const begun = performance.now();
      await runBisected<Image, Result>(this.#take(), this.#options.run);
      this.#lastRunMs = performance.now() - begun;
      await turns();
    }
    this.#working = undefined;
  }

  /** The next batch: single images, then bulk, each in the order in which they came. */
  #take(): Image[] {
    const singles = this.#images.filter(({ isBulk }) => !isBulk);
    const batch = [...singles, ...this.#images.filter(({ isBulk }) => isBulk)].slice(0, this.#options.maxBatch);
    for (const image of batch) this.remove(image);
    return batch;
  }

  async #waitForMore(): Promise<void> {
    const { maxBatch, maxDelayMs } = this.#options;
    if (maxDelayMs === 0 || this.length >= maxBatch) return;
    const filled = new Promise<void>((resolve) => {
      this.#onAdded = () => {
        if (this.length >= maxBatch) resolve();
      };
    });
    await within(maxDelayMs, filled);
    this.#onAdded = undefined;
  }

  async #waitForSingles(): Promise<void> {
    // A call with a single image may follow those that have begun by then.
    const until = performance.now() + HOLD_MS;
    for (let left = HOLD_MS; left > 0 && this.#isBulkNext; left = until - performance.now()) {
      const arriving = this.#options.arriving?.();
      if (arriving === undefined) break;
      await within(left, arriving);
    }
    await this.#waitFor('fetch', SHARES.fetch * this.#lastRunMs);
    await this.#waitFor('single', HOLD_MS);
  }

  async #waitForSteps(): Promise<void> {
    const ms = Math.min(HOLD_MS, SHARES.step * this.#lastRunMs);
    const { step } = this.#holds;
    if (step.size > 0 && ms >= 1 && this.#options.isNextReady?.() === false) await within(ms, Promise.all(step));
  }

  async #waitFor(kind: Hold, ms: number): Promise<void> {
    const holds = this.#holds[kind];
    if (holds.size > 0 && ms >= 1 && this.#isBulkNext) await within(Math.min(HOLD_MS, ms), Promise.all(holds));
  }

  /** Whether the next batch has bulk in it. */
  get #isBulkNext(): boolean {
    const singles = this.#images.filter(({ isBulk }) => !isBulk).length;
    return singles < Math.min(this.length, this.#options.maxBatch);
  }
}

async function within(ms: number, until: Promise<unknown>): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    void until.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function noTurn(): void {}

function turn(): Promise<void> {
  return new Promise((resolve) => scheduleMacrotask(resolve));
}

async function turns(): Promise<void> {
  for (let count = 0; count < TURNS; count += 1) await turn();
}
