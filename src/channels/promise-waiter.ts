/**
 * The waiter behind every wait that is a promise.
 *
 * Invariants:
 * - It settles once: by what it waited for, or by its signal. Whichever comes first takes it out of the other's list.
 * - A withdrawn waiter has taken nothing.
 */
import { addAbortListener, removeAbortListener } from '../core/index.js';
import { refused, settle, spend } from './budget.js';
import { unlink, type Waiter, type WaiterList, type WaitNode } from './waiters.js';

/**
 * Waits for a `T` and promises an `R`. It is a {@link Waiter} without being below it: one constructor less for what is made for each message.
 */
export abstract class PromiseWaiter<T, R> implements Waiter<T> {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  readonly promise: Promise<R>;
  #resolve!: (result: R | Promise<never>) => void;
  #signal: AbortSignal | null = null;

  constructor() {
    // Parked waits count as well: two tasks that wake each other would otherwise keep everything else waiting.
    spend();
    this.promise = new Promise<R>((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The promise, whose wait, if it still waits, is abandoned when the signal fires. It must not have fired yet. */
  until(signal: AbortSignal | undefined): Promise<R> {
    if (signal !== undefined && this.list !== null) {
      try {
        addAbortListener(signal, this);
        this.#signal = signal;
      } catch (error) {
        this.onAbort(error);
      }
    }
    return this.promise;
  }

  abstract deliver(value: T): void;
  abstract end(): void;

  // To resolve with what is rejected is to reject, and needs no function of its own.
  fail(reason: unknown): void {
    this.resolve(refused(reason));
  }

  /** Abandons the wait, if it still waits. */
  onAbort(reason: unknown): void {
    if (this.withdraw()) this.fail(reason);
  }

  /** Takes the waiter out of where it waits. @returns False when it was not waiting any more. */
  protected withdraw(): boolean {
    return unlink(this);
  }

  protected resolve(result: R | Promise<never>): void {
    if (this.#signal !== null) removeAbortListener(this.#signal, this);
    this.#signal = null;
    settle(this.#resolve, result);
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
