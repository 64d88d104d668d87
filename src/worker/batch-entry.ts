import { type AbortListener, addAbortListener, removeAbortListener } from '../core/index.js';

/** One item on its way through a batcher. It is settled once; the first to do so wins. */
export class BatchEntry<Item, Result> implements AbortListener {
  /** What it brings along; undefined once it is settled, so that nothing large is kept for an entry that still lies in the queue. */
  item: Item | undefined;
  readonly promise: Promise<Result>;
  /** When it was added, in ms on the batcher's clock; 0 where nothing waits for company. */
  addedAt = 0;
  /** Whether it belongs to the batch that runs. */
  isRunning = false;
  isSettled = false;
  wasGivenUp = false;
  /** Why it was given up, if it was. */
  giveUpReason: unknown = undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onSettled: (entry: BatchEntry<Item, Result>) => void;
  #resolve!: (result: Result) => void;
  #reject!: (error: unknown) => void;

  constructor(item: Item, signal: AbortSignal | undefined, onSettled: (entry: BatchEntry<Item, Result>) => void) {
    this.item = item;
    this.#signal = signal;
    this.#onSettled = onSettled;
    this.promise = new Promise<Result>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (signal !== undefined) addAbortListener(signal, this);
  }

  onAbort(reason: unknown): void {
    this.giveUp(reason);
  }

  giveUp(reason: unknown): void {
    if (this.isSettled) return;
    this.wasGivenUp = true;
    this.giveUpReason = reason;
    this.#settle();
    this.#reject(reason);
  }

  succeed(result: Result): void {
    if (this.isSettled) return;
    this.#settle();
    this.#resolve(result);
  }

  fail(error: unknown): void {
    if (this.isSettled) return;
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    this.isSettled = true;
    this.item = undefined;
    if (this.#signal !== undefined) removeAbortListener(this.#signal, this);
    this.#onSettled(this);
  }
}
