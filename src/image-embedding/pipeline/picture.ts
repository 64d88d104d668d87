/**
 * Images under way in a worker, by content: identical ones share one decode and one run, whichever operation brought them.
 *
 * Invariants:
 * - A picture is shared from when its bytes are there until it has its vector or its failure, and as long as it has waiters.
 * - Each waiter leaves by its own signal. The work is given up when the last one has left, and cannot be joined from then on.
 */
import { type AbortListener, addAbortListener, removeAbortListener } from '../../core/index.js';
import type { QueuedImage } from './batches.js';
import type { HeldBytes } from './read-ahead.js';

/** Tells contents apart; at once, or where that would stop the caller's event loop, later. */
export type Digest = (bytes: Uint8Array) => string | Promise<string>;

/** Where a picture is. */
export type PictureState =
  /** Its bytes wait for their decode. */
  | { readonly stage: 'encoded'; readonly held: HeldBytes }
  | { readonly stage: 'decoding'; readonly held: HeldBytes }
  /** Its pixels wait for a run, or are in one. */
  | { readonly stage: 'decoded'; readonly pixels: Uint8Array }
  /** It has its vector or its failure, or its last waiter has left. */
  | { readonly stage: 'over' };

interface Waiter {
  readonly resolve: (vector: Float32Array) => void;
  readonly reject: (error: unknown) => void;
  /** Stops listening to the waiter's signal. */
  readonly leave: () => void;
}

/** One image on its way from bytes to vector. */
export class Picture implements QueuedImage<Float32Array> {
  /** Settles once its pixels wait for a run, or never will. */
  readonly decoded: Promise<void>;
  /** Settles once it is over. */
  readonly over: Promise<void>;
  /** Whether all who wait for it give way to single images. */
  isBulk: boolean;
  readonly #controller = new AbortController();
  readonly #waiters = new Set<Waiter>();
  #state: PictureState;
  #setDecoded!: () => void;
  #setOver!: () => void;

  constructor(held: HeldBytes, isBulk: boolean) {
    this.#state = { stage: 'encoded', held };
    this.isBulk = isBulk;
    this.decoded = new Promise((resolve) => {
      this.#setDecoded = resolve;
    });
    this.over = new Promise((resolve) => {
      this.#setOver = resolve;
    });
  }

  get state(): PictureState {
    return this.#state;
  }

  /** Aborts when its last waiter has left. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isSettled(): boolean {
    return this.#state.stage === 'over';
  }

  /** Its pixels, while a run may need them. */
  get pixels(): Uint8Array {
    return this.#state.stage === 'decoded' ? this.#state.pixels : new Uint8Array();
  }

  /** Waits for its vector, which an abort gives up for this one alone. */
  wait(signal: AbortSignal | undefined): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      const listener: AbortListener = {
        onAbort: (reason) => {
          this.#waiters.delete(waiter);
          reject(reason);
          if (this.#waiters.size === 0) this.#giveUp(reason);
        },
      };
      const leave = (): void => {
        if (signal !== undefined) removeAbortListener(signal, listener);
      };
      const waiter: Waiter = { resolve, reject, leave };
      if (signal?.aborted) {
        listener.onAbort(signal.reason);
        return;
      }
      this.#waiters.add(waiter);
      if (signal !== undefined) addAbortListener(signal, listener);
    });
  }

  /** Its bytes, for the one that decodes them. */
  beginDecode(): Uint8Array {
    const { held } = this.#state as Extract<PictureState, { stage: 'encoded' }>;
    this.#state = { stage: 'decoding', held };
    return held.bytes;
  }

  /** It has been decoded, unless it was given up. */
  endDecode(pixels: Uint8Array): void {
    if (this.#state.stage === 'decoding') this.#advance({ stage: 'decoded', pixels });
  }

  succeed(vector: Float32Array): void {
    for (const { resolve, leave } of this.#end()) {
      leave();
      resolve(vector);
    }
  }

  fail(error: unknown): void {
    for (const { reject, leave } of this.#end()) {
      leave();
      reject(error);
    }
  }

  #giveUp(reason: unknown): void {
    if (this.isSettled) return;
    this.#advance({ stage: 'over' });
    this.#controller.abort(reason);
  }

  #end(): Waiter[] {
    if (!this.isSettled) this.#advance({ stage: 'over' });
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters;
  }

  #advance(state: PictureState): void {
    if ('held' in this.#state) this.#state.held.release();
    this.#state = state;
    this.#setDecoded();
    if (state.stage === 'over') this.#setOver();
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
    const picture = key === undefined ? undefined : this.#underWay.get(key);
    return picture?.isSettled ? undefined : picture;
  }

  /** Makes the picture of a content that is not. */
  add(key: string | undefined, held: HeldBytes, isBulk: boolean): Picture {
    const picture = new Picture(held, isBulk);
    if (key !== undefined) {
      this.#underWay.set(key, picture);
      void picture.over.then(() => {
        if (this.#underWay.get(key) === picture) this.#underWay.delete(key);
      });
    }
    return picture;
  }
}
