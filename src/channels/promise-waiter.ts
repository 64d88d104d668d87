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

function nothing(): void {}

let capturedResolve: (value: never) => void = nothing;
let capturedReject: (reason: unknown) => void = nothing;

// One executor for all promises: a closure less for each wait.
function capture(resolve: (value: never) => void, reject: (reason: unknown) => void): void {
  capturedResolve = resolve;
  capturedReject = reject;
}

/** Waits for a `T` and promises an `R`. */
export abstract class PromiseWaiter<T, R> extends Waiter<T> {
  readonly promise: Promise<R>;
  readonly #resolve: (value: R) => void;
  readonly #reject: (reason: unknown) => void;
  #signal: AbortSignal | null = null;

  constructor() {
    super();
    // Parked waits count as well: two tasks that wake each other would otherwise keep everything else waiting.
    spend();
    this.promise = new Promise<R>(
      capture as unknown as (resolve: (value: R) => void, reject: (reason: unknown) => void) => void,
    );
    this.#resolve = capturedResolve as (value: R) => void;
    this.#reject = capturedReject;
    // They would hold the last promise, and its value.
    capturedResolve = nothing;
    capturedReject = nothing;
  }

  /** Has the wait abandoned when the signal fires. The signal must not have fired yet. */
  listen(signal: AbortSignal): void {
    this.#signal = signal;
    addAbortListener(signal, this);
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
