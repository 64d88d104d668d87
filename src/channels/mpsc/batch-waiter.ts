import { DONE } from '../budget.js';
import { PromiseWaiter } from '../promise-waiter.js';
import type { Chan } from './chan.js';

/**
 * Waits for at least one value and takes what else has come by the time the caller runs: the first value opens a batch, and the microtask that
 * settles it takes the rest.
 */
export class BatchWaiter<T, R> extends PromiseWaiter<T, R> {
  readonly #values: T[] = [];
  readonly #chan: Chan<T>;
  readonly #limit: number;
  readonly #toResult: (values: T[]) => R;

  /** @param toResult What becomes of the values. What it throws rejects the wait. */
  constructor(chan: Chan<T>, limit: number, toResult: (values: T[]) => R) {
    super();
    this.#chan = chan;
    this.#limit = limit;
    this.#toResult = toResult;
  }

  override deliver(value: T): void {
    this.#values.push(value);
    void DONE.then(() => this.end());
  }

  /** Takes what is there, and settles. */
  override end(): void {
    this.#chan.takeMany(this.#values, this.#limit - this.#values.length);
    try {
      this.resolve(this.#toResult(this.#values));
    } catch (error) {
      this.fail(error);
    }
  }
}
