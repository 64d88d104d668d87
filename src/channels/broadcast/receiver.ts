import { requireLimit } from '../../core/index.js';
import type { BroadcastState } from './state.js';
import { RecvError, LaggedError } from '../errors.js';
import { ready, rejected } from '../internal/budget.js';
import { type LaggedResult, signalOf, type TryRecvResult, type WaitOptions } from '../internal/wait.js';
import { LookIterator, LookSource, lookAt, NOTHING, park, type Watchable, wakeSoon } from '../internal/parking.js';
import { ParkingLot } from '../internal/waiters.js';
import type { Selectable, SelectSource } from '../select/selectable.js';

const ACTION = 'Cannot receive';
const EMPTY = Object.freeze({ state: 'empty' } as const);
const CLOSED = Object.freeze({ state: 'closed' } as const);

/**
 * The receiving half of a {@link channel}, with its own position in the values that all receivers see.
 *
 * As an arm of `select` it wins with the next value, fails with `LaggedError` when it has fallen behind, and is disabled at the end of the
 * channel. As an async iterable it does the same.
 */
export class Receiver<T> implements AsyncIterable<T>, Selectable<T>, Disposable {
  readonly #state: BroadcastState<T>;
  readonly #values: Watchable<IteratorResult<T, undefined>>;
  #next: number;
  #closed = false;
  /** The error of the next look. */
  #failure: { readonly error: unknown } | null = null;

  /** @internal */
  constructor(state: BroadcastState<T>) {
    this.#state = state;
    this.#next = state.ring.tail;
    const { clone } = state;
    const look = (): IteratorResult<T, undefined> | typeof NOTHING => this.#look();
    const lot = new ParkingLot(state.arrivals);
    this.#values =
      clone === undefined
        ? { look, lot }
        : { look, lot, finish: (found) => (found.done ? found : copyOf(found, clone)) };
    state.receivers++;
  }

  /**
   * Waits for the next value.
   *
   * **Cancel safety:** cancel safe. An aborted wait has read nothing.
   *
   * @param options.signal Abandons the wait.
   * @returns `{ done: false, value }`, or `{ done: true }` when every sender is gone and every value was read.
   * @throws LaggedError (rejects) When values were overwritten before this receiver read them; the next call gives the oldest value kept.
   * @example
   * ```ts
   * const [tx, rx] = broadcast.channel<string>(2);
   * for (const word of ['a', 'b', 'c']) tx.send(word);
   * await rx.recv(); // throws LaggedError
   * await rx.recv(); // => { done: false, value: 'b' }
   * ```
   */
  recv(options?: WaitOptions): Promise<IteratorResult<T, undefined>> {
    return park(this.#values, signalOf(ACTION, options));
  }

  /**
   * Takes the next value, without waiting.
   *
   * @returns `{ state: 'ok', value }`, `'empty'`, `'closed'` at the end, or `'lagged'` with the number of lost values; the next call then gives the
   * oldest value kept.
   */
  tryRecv(): TryRecvResult<T> | LaggedResult {
    try {
      const found = lookAt(this.#values);
      if (found === NOTHING) return EMPTY;
      return found.done ? CLOSED : { state: 'ok', value: found.value };
    } catch (error) {
      if (error instanceof LaggedError) return { state: 'lagged', skipped: error.skipped };
      throw error;
    }
  }

  /**
   * Waits for at least one value and takes all values kept, up to `limit`. A call that meets lost values gives the values before them, and the next
   * one fails.
   *
   * **Cancel safety:** cancel safe. An aborted wait has read nothing.
   *
   * @param limit The most values to take; `Infinity` for no limit. For 0 it resolves at once.
   * @param options.signal Abandons the wait.
   * @returns The values; an empty array at the end of the channel, or for a limit of 0.
   * @throws LaggedError (rejects) When values were overwritten before this receiver read them.
   * @example
   * ```ts
   * const [tx, rx] = broadcast.channel<number>(8);
   * for (const n of [1, 2, 3]) tx.send(n);
   * await rx.recvMany(2); // => [1, 2]
   * await rx.recvMany(Infinity); // => [3]
   * ```
   */
  recvMany(limit: number, options?: WaitOptions): Promise<T[]> {
    const most = requireLimit(ACTION, limit);
    const signal = signalOf(ACTION, options);
    if (signal?.aborted) return rejected(signal.reason);
    return most === 0 ? ready([]) : this.#recvMany(most, signal);
  }

  async #recvMany(limit: number, signal: AbortSignal | undefined): Promise<T[]> {
    const first = await park(this.#values, signal);
    if (first.done) return [];
    const values = [first.value];
    while (values.length < limit && !this.isEmpty && this.#next >= this.#state.ring.head) {
      try {
        const next = this.tryRecv();
        if (next.state !== 'ok') break;
        values.push(next.value);
      } catch (error) {
        // A clone that throws loses its own value: the others are given now, and the error with the next call.
        this.#failure = { error };
        break;
      }
    }
    return values;
  }

  /**
   * Waits until {@link Receiver.tryRecv} would not give `empty`, and reads nothing. A shared receiver may find the value gone: look again, and wait
   * again.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options.signal Abandons the wait.
   * @example
   * ```ts
   * const [tx, rx] = broadcast.channel<string>(2);
   * tx.send('news');
   * await rx.ready();
   * rx.tryRecv(); // => { state: 'ok', value: 'news' }
   * ```
   */
  ready(options?: WaitOptions): Promise<void> {
    const look = (): undefined | typeof NOTHING =>
      this.isEmpty && !this.isClosed && this.#failure === null ? NOTHING : undefined;
    return park({ look, lot: this.#values.lot }, signalOf('Cannot wait for a value', options));
  }

  /** The number of values that this receiver has not read, lost values before their `LaggedError` included. */
  get len(): number {
    return this.#closed ? 0 : this.#state.ring.tail - this.#next;
  }

  /** Whether every value was read. */
  get isEmpty(): boolean {
    return this.len === 0;
  }

  /** Whether nothing more will be sent. Values may be left. */
  get isClosed(): boolean {
    return this.#closed || this.#state.isEnded;
  }

  /** The number of senders. */
  get senderCount(): number {
    return this.#state.senders;
  }

  /**
   * Makes another receiver of the same channel, which starts with the next value sent.
   *
   * @throws RecvError When this receiver is closed.
   */
  resubscribe(): Receiver<T> {
    if (this.#closed) throw new RecvError('Cannot subscribe: this receiver is closed');
    return new Receiver(this.#state);
  }

  /** Whether another receiver is of the same channel; false for a value that is no receiver. */
  sameChannel(other: Receiver<T>): boolean {
    return other instanceof Receiver && other.#state === this.#state;
  }

  /**
   * Iterates over the values. Leaving the iteration early keeps the receiver open; a lag ends it with `LaggedError`, and a new one goes on with the
   * oldest value kept.
   *
   * **Cancel safety:** cancel safe. `return()` settles a pending `next()`, which has then read nothing.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined, undefined> {
    return new LookIterator(this.#values);
  }

  /** Closes this receiver, and drops the values kept for it. Its waits end. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#state.ring.abandonFrom(this.#next);
    this.#values.lot.wakeAll();
    this.#state.removeReceiver();
  }

  /** Does what {@link Receiver.close} does. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The receiver as an arm of `select`. */
  selectSource(): SelectSource<T> {
    return new LookSource(this.#values, () => this.isClosed && this.len === 0 && this.#failure === null);
  }

  #look(): IteratorResult<T, undefined> | typeof NOTHING {
    if (this.#closed) return { done: true, value: undefined };
    if (this.#failure !== null) {
      const { error } = this.#failure;
      this.#failure = null;
      throw error;
    }
    const { ring, isEnded } = this.#state;
    const skipped = ring.head - this.#next;
    if (skipped > 0) {
      this.#next = ring.head;
      throw new LaggedError(skipped);
    }
    if (this.#next === ring.tail) return isEnded ? { done: true, value: undefined } : NOTHING;
    // The cursor moves first: a clone that throws loses its own value and no other.
    const value = ring.read(this.#next++);
    if (isEnded && this.#next === ring.tail) wakeSoon(this.#values.lot);
    return { done: false, value };
  }
}

function copyOf<T>({ value }: IteratorYieldResult<T>, clone: (value: T) => T): IteratorYieldResult<T> {
  return { done: false, value: clone(value) };
}
