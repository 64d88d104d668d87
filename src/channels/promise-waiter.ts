/**
 * The waiter behind every wait that is a promise.
 *
 * Invariants:
 * - It settles once: by what it waited for, or by its signal. Whichever comes first takes it out of the other's list.
 * - A withdrawn waiter has taken nothing.
 */
import { addAbortListener, removeAbortListener } from '../core/index.js';
import { settle, spend } from './budget.js';
import { unlink, Waiter } from './waiters.js';

/** Waits for a `T` and promises an `R`. */
export abstract class PromiseWaiter<T, R> extends Waiter<T> {
  readonly promise: Promise<R>;
  #resolve!: (value: R) => void;
  #reject!: (reason: unknown) => void;
  #signal: AbortSignal | null = null;

  constructor() {
    super();
    // Parked waits count as well: two tasks that wake each other would otherwise keep everything else waiting.
    spend();
    this.promise = new Promise<R>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The promise, whose wait is abandoned when the signal fires, if there is one. It must not have fired yet. */
  until(signal: AbortSignal | undefined): Promise<R> {
    if (signal !== undefined) {
      this.#signal = signal;
      addAbortListener(signal, this);
    }
    return this.promise;
  }

  override fail(reason: unknown): void {
    this.reject(reason);
  }

  /** Abandons the wait, if it still waits. */
  override onAbort(reason: unknown): void {
    if (this.withdraw()) this.reject(reason);
  }

  /** Takes the waiter out of where it waits. @returns False when it was not waiting any more. */
  protected withdraw(): boolean {
    return unlink(this);
  }

  protected resolve(value: R): void {
    if (this.#signal !== null) this.#deafen(this.#signal);
    settle(this.#resolve, value);
  }

  protected reject(reason: unknown): void {
    if (this.#signal !== null) this.#deafen(this.#signal);
    settle(this.#reject, reason);
  }

  #deafen(signal: AbortSignal): void {
    this.#signal = null;
    removeAbortListener(signal, this);
  }
}

/** Waits for something whose value is the promise's own. What ends without a value leaves it `undefined`. */
export class ValueWaiter<T> extends PromiseWaiter<T, T> {
  override deliver(value: T): void {
    this.resolve(value);
  }

  override end(): void {
    this.resolve(undefined as T);
  }
}
