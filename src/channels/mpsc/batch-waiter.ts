import { DONE } from '../budget.js';
import { PromiseWaiter } from '../promise-waiter.js';
import type { Chan } from './chan.js';

/**
 * Waits for at least one value and takes what else has come by the time the caller runs: the first value opens a batch, which the channel
 * fills until the microtask that settles it.
 */
export class BatchWaiter<T> extends PromiseWaiter<T, number> {
  readonly buffer: T[];
  readonly #chan: Chan<T>;
  readonly #limit: number;
  #taken = 0;

  constructor(chan: Chan<T>, buffer: T[], limit: number) {
    super();
    this.#chan = chan;
    this.buffer = buffer;
    this.#limit = limit;
  }

  override deliver(value: T): void {
    this.buffer.push(value);
    this.#taken = 1;
    if (this.#chan.isServingLast) this.#finish();
    else void DONE.then(() => this.#finish());
  }

  override end(): void {
    this.resolve(0);
  }

  // A value that was sent before the signal fired was meant for this wait.
  override onAbort(reason: unknown): void {
    this.#chan.serve();
    super.onAbort(reason);
  }

  // What came since the first value lies in the ring, unless somebody else has taken it.
  #finish(): void {
    this.#taken += this.#chan.takeMany(this.buffer, this.#limit - this.#taken);
    this.resolve(this.#taken);
  }
}
