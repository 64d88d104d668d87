import { requireLimit } from '../../core/index.js';
import type { BroadcastState } from './state.js';
import { RecvError, LaggedError } from '../errors.js';
import { ready, rejected } from '../internal/budget.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import {
  LookIterator,
  LookSource,
  lookAt,
  NOTHING,
  ParkingLot,
  park,
  type Watchable,
  wakeSoon,
} from '../internal/parking.js';
import type { Selectable, SelectSource } from '../select/selectable.js';

/** What {@link Receiver.tryRecv} answers. */
export type TryRecv<T> =
  | { readonly state: 'ok'; readonly value: T }
  | { readonly state: 'empty' }
  | { readonly state: 'lagged'; readonly skipped: number }
  | { readonly state: 'closed' };

const ACTION = 'Cannot receive';
const EMPTY = Object.freeze({ state: 'empty' } as const);
const CLOSED = Object.freeze({ state: 'closed' } as const);

/**
 * The receiving half of a {@link channel}: its own place in the stream of values that all receivers see.
 *
 * As an arm of `select` it wins with the next value, fails with `LaggedError` when it has fallen behind, and is disabled at the end of the
 * channel. As an async iterable it does the same.
 */
export class Receiver<T> implements AsyncIterable<T>, Selectable<T>, Disposable {
  readonly #state: BroadcastState<T>;
  readonly #values: Watchable<IteratorResult<T, undefined>>;
  #next: number;
  #closed = false;
  /** What the next look throws. */
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
   * @param options.signal Gives the wait up.
   * @returns `{ done: false, value }`, or `{ done: true }` when every sender is gone and every value was read.
   * @throws LaggedError When values were overwritten before this receiver read them; the next call continues with the oldest that is kept.
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
   * The next value, if there is one now.
   *
   * @returns `{ state: 'ok', value }`, `'empty'`, `'closed'` at the end, or `'lagged'` with the number of values that were lost; the next call then
   * continues with the oldest that is kept.
   */
  tryRecv(): TryRecv<T> {
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
   * Waits for at least one value and takes what is there, up to `limit`. Values that were lost are told of before the values after them: a call
   * that finds them in between gives what came before, and the next one fails.
   *
   * **Cancel safety:** cancel safe. An aborted wait has read nothing.
   *
   * @param limit How many at most, `Infinity` for all that there are; for 0 it resolves at once.
   * @param options.signal Gives the wait up.
   * @returns The values; none at the end of the channel, or for a limit of 0.
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
        // A clone that throws costs its own value: the others are given now, and the error with the next call.
        this.#failure = { error };
        break;
      }
    }
    return values;
  }

  /**
   * Waits until there is something to be had: until {@link Receiver.tryRecv} would not answer `empty`. It reads nothing. Where several wait on
   * one receiver, another may be quicker; so look again, and wait again.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options.signal Gives the wait up.
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

  /** How many values this receiver has not read, those included that it has lost and not been told of. */
  get len(): number {
    return this.#closed ? 0 : this.#state.ring.tail - this.#next;
  }

  /** Whether there is nothing to read. */
  get isEmpty(): boolean {
    return this.len === 0;
  }

  /** Whether nothing will be sent any more; values may be left. */
  get isClosed(): boolean {
    return this.#closed || this.#state.ended;
  }

  /** How many senders there are. */
  get senderCount(): number {
    return this.#state.senders;
  }

  /**
   * Another receiver of the same channel, which starts with the next value that is sent.
   *
   * @throws RecvError When this receiver is closed.
   */
  resubscribe(): Receiver<T> {
    if (this.#closed) throw new RecvError('Cannot subscribe: this receiver is closed');
    return new Receiver(this.#state);
  }

  /** Whether another receiver listens to the same channel; false for anything else. */
  sameChannel(other: Receiver<T>): boolean {
    return other instanceof Receiver && other.#state === this.#state;
  }

  /**
   * The values as an async iterator. Leaving it early keeps the receiver open; a lag ends a `for await` with `LaggedError`, and a new one
   * continues with the oldest value that is kept.
   *
   * **Cancel safety:** cancel safe. `return()` settles a pending `next()`, which has then read nothing.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined, undefined> {
    return new LookIterator(this.#values);
  }

  /** Lets go of the channel and of the values it holds for this receiver. Waits on it end. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#state.ring.abandonFrom(this.#next);
    this.#values.lot.wakeAll();
    this.#state.removeReceiver();
  }

  /** The same as {@link Receiver.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** How `select` looks at this arm. */
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
    const { ring, ended } = this.#state;
    const skipped = ring.head - this.#next;
    if (skipped > 0) {
      this.#next = ring.head;
      throw new LaggedError(skipped);
    }
    if (this.#next === ring.tail) return ended ? { done: true, value: undefined } : NOTHING;
    // The cursor moves first: a clone that throws costs its own value and no other.
    const value = ring.read(this.#next++);
    if (ended && this.#next === ring.tail) wakeSoon(this.#values.lot);
    return { done: false, value };
  }
}

function copyOf<T>({ value }: IteratorYieldResult<T>, clone: (value: T) => T): IteratorYieldResult<T> {
  return { done: false, value: clone(value) };
}
