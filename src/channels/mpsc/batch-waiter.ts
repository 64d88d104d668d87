import { PromiseWaiter } from '../promise-waiter.js';
import { Chan } from './chan.js';
import { pin } from '../pinned.js';

/**
 * Waits for at least one value and takes what else has come by the time the caller runs: the first value opens a batch, which the channel
 * fills until the microtask that settles it.
 */
export class BatchWaiter<T, R> extends PromiseWaiter<T, R> {
  readonly buffer: T[];
  readonly #chan: Chan<T>;
  readonly #limit: number;
  readonly #toResult: (taken: number, buffer: T[]) => R;
  #taken = 0;

  constructor(chan: Chan<T>, buffer: T[], limit: number, toResult: (taken: number, buffer: T[]) => R) {
    super();
    this.#chan = chan;
    this.buffer = buffer;
    this.#limit = limit;
    this.#toResult = toResult;
  }

  override deliver(value: T): void {
    this.buffer.push(value);
    this.#taken = 1;
    if (this.#chan.isServingLast) this.#finish();
    else queue(() => this.#finish());
  }

  override end(): void {
    this.resolve(this.#toResult(0, this.buffer));
  }

  // A value that was sent before the signal fired was meant for this wait.
  override abandon(reason: unknown): void {
    this.#chan.serve();
    super.abandon(reason);
  }

  // What came since the first value lies in the ring, unless somebody else has taken it.
  #finish(): void {
    this.#taken += this.#chan.takeMany(this.buffer, this.#limit - this.#taken);
    this.resolve(this.#toResult(this.#taken, this.buffer));
  }
}

const settled = Promise.resolve();

function queue(callback: () => void): void {
  settled.then(callback);
}

pin(new BatchWaiter(new Chan(1, null), [], 1, () => 0));
