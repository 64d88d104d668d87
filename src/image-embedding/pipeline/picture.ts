/**
 * The images under way in a worker, by content: identical images share one decode and one run, whichever operation brought them.
 *
 * Invariants:
 * - A picture is shared from when its bytes are there until it has its vector or its failure, and as long as it has waiters.
 * - Each waiter leaves by its own signal. The work is given up when the last one has left, and cannot be joined from then on.
 */
import { type AbortListener, addAbortListener, removeAbortListener } from '../../core/index.js';
import type { HeldBytes } from './read-ahead.js';

/** Tells contents apart; at once, or where that would stop the caller's event loop, later. */
export type Digest = (bytes: Uint8Array) => string | Promise<string>;

/** One image on its way from bytes to vector. */
export class Picture {
  /** Aborts when its last waiter has left. */
  readonly signal: AbortSignal;
  /** Settles once its pixels wait for a run, or never will. */
  readonly queued: Promise<void>;
  /** Settles once it has its vector or its failure, or its last waiter has left. */
  readonly over: Promise<void>;
  /** Whether all who wait for it give way to single images. */
  isBulk: boolean;
  /** Its pixels, while they wait for a run. */
  pixels: Uint8Array | undefined;
  readonly #controller = new AbortController();
  readonly #onOver: () => void;
  readonly #waiting = new Set<(vector: Promise<Float32Array>) => void>();
  #held: HeldBytes | undefined;
  #isTaken = false;
  #setQueued!: () => void;
  #setOver!: () => void;

  constructor(held: HeldBytes, isBulk: boolean, onOver: () => void) {
    this.#held = held;
    this.isBulk = isBulk;
    this.#onOver = onOver;
    this.signal = this.#controller.signal;
    this.queued = new Promise((resolve) => {
      this.#setQueued = resolve;
    });
    this.over = new Promise((resolve) => {
      this.#setOver = resolve;
    });
  }

  /** Waits for its vector, which an abort gives up for this one alone. */
  wait(signal: AbortSignal | undefined): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        this.#leave(signal.reason);
        return;
      }
      const answer = (vector: Promise<Float32Array>): void => {
        if (signal !== undefined) removeAbortListener(signal, listener);
        resolve(vector);
      };
      const listener: AbortListener = {
        onAbort: (reason) => {
          this.#waiting.delete(answer);
          reject(reason);
          this.#leave(reason);
        },
      };
      this.#waiting.add(answer);
      if (signal !== undefined) addAbortListener(signal, listener);
    });
  }

  /** Its bytes, for the first caller, which decodes them; undefined afterwards, or when no waiter is left. */
  take(): Uint8Array | undefined {
    if (this.#isTaken || this.signal.aborted) return undefined;
    this.#isTaken = true;
    return this.#held?.bytes;
  }

  /** It has been decoded, and `vector` is what its run will say. */
  follow(vector: Promise<Float32Array>): void {
    this.#decoded();
    vector.then(
      () => this.#settle(vector),
      () => this.#settle(vector),
    );
  }

  /** It can't be decoded. */
  fail(error: unknown): void {
    this.#decoded();
    this.#settle(Promise.reject(error));
  }

  #decoded(): void {
    this.#release();
    this.#setQueued();
  }

  #settle(vector: Promise<Float32Array>): void {
    // It may have no waiter.
    vector.catch(() => {});
    this.pixels = undefined;
    this.#end();
    for (const answer of this.#waiting) answer(vector);
    this.#waiting.clear();
  }

  #leave(reason: unknown): void {
    if (this.#waiting.size > 0 || this.signal.aborted) return;
    this.#end();
    if (!this.#isTaken) this.#decoded();
    this.#controller.abort(reason);
  }

  #end(): void {
    this.#onOver();
    this.#setOver();
  }

  #release(): void {
    this.#held?.release();
    this.#held = undefined;
  }
}

/** The pictures that are under way. */
export class Pictures {
  readonly #digest: Digest | undefined;
  readonly #underWay = new Map<string, Picture>();

  /** @param digest Undefined: every image is a picture of its own. */
  constructor(digest: Digest | undefined) {
    this.#digest = digest;
  }

  /** What stands for the content of an image. */
  keyOf(bytes: Uint8Array): string | undefined | Promise<string> {
    return this.#digest?.(bytes);
  }

  /** The picture of a content that is under way. */
  find(key: string | undefined): Picture | undefined {
    return key === undefined ? undefined : this.#underWay.get(key);
  }

  /** Makes the picture of a content that is not. */
  add(key: string | undefined, held: HeldBytes, isBulk: boolean): Picture {
    const picture: Picture = new Picture(held, isBulk, () => {
      if (key !== undefined && this.#underWay.get(key) === picture) this.#underWay.delete(key);
    });
    if (key !== undefined) this.#underWay.set(key, picture);
    return picture;
  }
}
