/**
 * Waiting on an `AbortSignal` without leaving anything on it.
 *
 * Invariants:
 * - A signal has one listener at most, however many wait: it is added for the first and removed with the last.
 * - Nothing is held for a signal on which nobody waits.
 */
import { requireOptions, requireSignal } from '../core/index.js';
import { unlink, Waiter, WaiterList } from './waiters.js';

class SignalHub {
  readonly #signal: AbortSignal;
  readonly #waiters: WaiterList<Waiter<unknown>> = new WaiterList();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add(waiter: Waiter<unknown>): void {
    if (this.#waiters.head === null) this.#signal.addEventListener('abort', this);
    this.#waiters.push(waiter);
  }

  /** Takes the listener off once nobody waits. */
  letGo(): void {
    if (this.#waiters.head !== null) return;
    this.#signal.removeEventListener('abort', this);
    hubs.delete(this.#signal);
  }

  /** The listener: an object, so that it needs no closure. */
  handleEvent(): void {
    this.#signal.removeEventListener('abort', this);
    hubs.delete(this.#signal);
    this.#waiters.drain((waiter) => waiter.deliver(this.#signal.reason));
  }
}

const hubs = new WeakMap<AbortSignal, SignalHub>();

/** Has the waiter told (`deliver(signal.reason)`) when the signal fires. The signal must not have fired yet. */
export function addAbortWaiter(signal: AbortSignal, waiter: Waiter<unknown>): void {
  let hub = hubs.get(signal);
  if (hub === undefined) {
    hub = new SignalHub(signal);
    hubs.set(signal, hub);
  }
  hub.add(waiter);
}

/** Takes the waiter back; one that was told or is not there is ignored. */
export function removeAbortWaiter(signal: AbortSignal, waiter: Waiter<unknown>): void {
  // While a signal fires its hub is gone already, and those that are still to be told are in the list.
  if (unlink(waiter)) hubs.get(signal)?.letGo();
}

class AbortCallback extends Waiter<unknown> {
  readonly #callback: (reason: unknown) => void;

  constructor(callback: (reason: unknown) => void) {
    super();
    this.#callback = callback;
  }

  override deliver(reason: unknown): void {
    this.#callback(reason);
  }

  override end(): void {}

  override fail(): void {}
}

/** Calls back when the signal fires, which must not have happened yet. @returns What takes the callback back. */
export function onAbort(signal: AbortSignal, callback: (reason: unknown) => void): () => void {
  const waiter = new AbortCallback(callback);
  addAbortWaiter(signal, waiter);
  return () => removeAbortWaiter(signal, waiter);
}

/** What every waiting method takes. */
export interface WaitOptions {
  /** Abandons the wait: it rejects with `signal.reason`, at once, having done nothing. */
  readonly signal?: AbortSignal | undefined;
}

const SIGNAL: readonly 'signal'[] = ['signal'];

/** Reads the signal out of the options of a wait, and refuses everything else. */
export function signalOf<O extends WaitOptions>(
  action: string,
  options: O | undefined,
  known: readonly (keyof O & string)[] = SIGNAL,
): AbortSignal | undefined {
  if (options === undefined) return undefined;
  const { signal } = requireOptions(action, options, known);
  return signal === undefined ? undefined : requireSignal(action, signal);
}
