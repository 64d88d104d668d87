import { requireFunction } from '../../core/index.js';
import { RecvError } from '../errors.js';
import { readyVoid, rejected } from '../internal/budget.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { LeavableIterator, LookSource, NOTHING, park, type Watchable, wakeSoon } from '../internal/parking.js';
import { ParkingLot } from '../internal/waiters.js';
import type { Selectable, SelectSource } from '../select/selectable.js';
import type { WatchState } from './state.js';

/**
 * The receiving half of a {@link channel}: it sees the newest value, and each receiver knows which value it has seen.
 *
 * As an arm of `select` it wins with the newest value once that is unseen, and marks it seen. As an async iterable it gives the current value, then
 * every change.
 */
export class Receiver<T> implements AsyncIterable<T>, Selectable<T>, Disposable {
  readonly #state: WatchState<T>;
  readonly #unseen: Watchable<void>;
  #seen: number;
  #closed = false;

  /** @internal */
  constructor(state: WatchState<T>, seen: number) {
    this.#state = state;
    this.#seen = seen;
    this.#unseen = { look: () => this.#lookOrFail(), lot: new ParkingLot(state.arrivals) };
    state.receivers++;
  }

  /**
   * The newest value, without marking it seen. It can be read for ever, even after the senders are gone and after {@link Receiver.close}.
   *
   * @returns The newest value.
   */
  borrow(): T {
    return this.#state.value;
  }

  /**
   * The newest value, which it marks seen.
   *
   * Use it in a loop over {@link Receiver.changed}: a value that comes between the two calls is then not reported again.
   *
   * @returns The newest value.
   */
  borrowAndUpdate(): T {
    this.#see(this.#state.version);
    return this.#state.value;
  }

  /**
   * Whether this receiver has not seen the newest value.
   *
   * @returns True until the value is marked seen.
   * @throws RecvError When every sender is gone, or this receiver is closed, whether or not the last value was seen.
   */
  hasChanged(): boolean {
    if (this.#isOver()) throw new RecvError('Cannot look for a change: the watch channel is closed');
    return this.#seen !== this.#state.version;
  }

  /**
   * Waits for a value that this receiver has not seen, and marks it seen.
   *
   * It resolves at once when the newest value is unseen. Several sends between two looks are one change: only the last value is seen.
   *
   * **Cancel safety:** cancel safe. An aborted wait marks nothing seen.
   *
   * @param options.signal Abandons the wait.
   * @throws RecvError When every sender is gone and the last value has been seen.
   * @example
   * ```ts
   * const [tx, rx] = watch.channel('starting');
   * tx.send('ready');
   * await rx.changed();
   * rx.borrow(); // => 'ready'
   * ```
   */
  changed(options?: WaitOptions): Promise<void> {
    return this.#changed(signalOf('Cannot wait for a change', options));
  }

  async #changed(signal: AbortSignal | undefined): Promise<void> {
    await park(this.#unseen, signal);
    // Only now, not at the wake-up: the caller is about to look at the last value sent in between.
    this.#see(this.#state.version);
  }

  /**
   * Waits until the value passes a test, and marks that value seen.
   *
   * The current value is tested first, seen or not, and on a closed channel too. Values that are replaced before this receiver looks are not tested.
   * The promise resolves with the value and so follows a promise or thenable; {@link Receiver.borrow} gives it as it is.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param predicate Called with the newest value, and again after changes, until it returns true.
   * @param options.signal Abandons the wait.
   * @returns The value that passed.
   * @throws RecvError (rejects) When every sender is gone and the last value did not pass.
   * @throws Any exception of the predicate (rejects).
   * @example
   * ```ts
   * const [tx, rx] = watch.channel({ connections: 0 });
   * tx.send({ connections: 3 });
   * await rx.waitFor(({ connections }) => connections > 2); // => { connections: 3 }
   * ```
   */
  waitFor(predicate: (value: T) => boolean, options?: WaitOptions): Promise<T> {
    requireFunction('Cannot wait for a value', 'predicate', predicate);
    const signal = signalOf('Cannot wait for a value', options);
    return signal?.aborted ? rejected(signal.reason) : this.#waitFor(predicate, signal);
  }

  async #waitFor(predicate: (value: T) => boolean, signal: AbortSignal | undefined): Promise<T> {
    for (let first = true; ; first = false) {
      const { value, version } = this.#state;
      const passed = predicate(value);
      this.#see(version);
      if (passed) {
        if (first) await readyVoid();
        return value;
      }
      await park(this.#unseen, signal);
    }
  }

  /** Marks the value seen without reading it. */
  markUnchanged(): void {
    this.#see(this.#state.version);
  }

  /** Marks the value unseen: the next {@link Receiver.changed} resolves at once. */
  markChanged(): void {
    this.#seen = -1;
    this.#unseen.lot.wakeAll();
  }

  /**
   * Makes another receiver of the same channel, which has seen the same value.
   *
   * @throws RecvError When this receiver is closed.
   */
  clone(): Receiver<T> {
    if (this.#closed) throw new RecvError('Cannot clone receiver: it is closed');
    return new Receiver(this.#state, this.#seen);
  }

  /** Whether another receiver watches the same channel; false for a value that is no receiver. */
  sameChannel(other: Receiver<T>): boolean {
    return other instanceof Receiver && other.#state === this.#state;
  }

  /** The number of senders; at 0 the value is final. */
  get senderCount(): number {
    return this.#state.senders;
  }

  /**
   * Iterates over changes. A value that was seen before is not given.
   *
   * Leaving the iteration early keeps the receiver open. It ends when the last sender is gone and the last value was given.
   *
   * **Cancel safety:** cancel safe. `return()` settles a pending `next()`, and a value that comes afterwards stays unseen.
   */
  changes(): AsyncIterableIterator<T, undefined, undefined> {
    return new Changes(this.#watched(), false);
  }

  /**
   * Iterates over the current value and then every change, as {@link Receiver.changes} does.
   *
   * **Cancel safety:** cancel safe.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined, undefined> {
    return new Changes(this.#watched(), true);
  }

  /** Closes this receiver: its waits reject with `RecvError`. Senders are closed when it was the last receiver. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unseen.lot.wakeAll();
    this.#state.removeReceiver();
  }

  /** Does what {@link Receiver.close} does. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The receiver as an arm of `select`. */
  selectSource(): SelectSource<T> {
    const look = (): IteratorResult<T, undefined> | typeof NOTHING => {
      const state = this.#look();
      if (state === NOTHING) return NOTHING;
      return state ? { done: false, value: this.borrowAndUpdate() } : { done: true, value: undefined };
    };
    // The first change wins, with the value at the time when the caller runs: several sends of one turn are one change.
    const finish = (found: IteratorResult<T, undefined>): IteratorResult<T, undefined> =>
      found.done ? found : { done: false, value: this.borrowAndUpdate() };
    const undo = (): void => this.markChanged();
    return new LookSource({ look, finish, undo, lot: this.#unseen.lot }, () => this.#look() === false);
  }

  #see(version: number): void {
    this.#seen = version;
    // The last value has been seen: other waits end.
    if (this.#isOver()) wakeSoon(this.#unseen.lot);
  }

  #isOver(): boolean {
    return this.#closed || this.#state.isEnded;
  }

  #lookOrFail(): typeof NOTHING | undefined {
    const state = this.#look();
    if (state === false) throw new RecvError('Cannot wait for a change: the watch channel is closed');
    return state === true ? undefined : NOTHING;
  }

  /** Whether a value is unseen: true, false at the end, or not yet. */
  #look(): boolean | typeof NOTHING {
    if (this.#closed) return false;
    if (this.#seen !== this.#state.version) return true;
    return this.#isOver() ? false : NOTHING;
  }

  #watched(): ConstructorParameters<typeof Changes<T>>[0] {
    return { look: () => this.#look(), see: () => this.borrowAndUpdate(), lot: this.#unseen.lot };
  }
}

/** A receiver as its iterator sees it. */
interface Watched<T> {
  /** Whether a value is unseen: true, false at the end, or not yet. */
  look(): boolean | typeof NOTHING;
  see(): T;
  readonly lot: ParkingLot;
}

/**
 * The iterator over changes. It looks at the value when its `next()` resumes and not when it is woken, so that several sends in one turn are one
 * change.
 */
export class Changes<T> extends LeavableIterator<T> {
  readonly #watched: Watched<T>;
  #first: boolean;

  constructor(watched: Watched<T>, first: boolean) {
    super(watched.lot);
    this.#watched = watched;
    this.#first = first;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      if (!(await park<boolean>(this, undefined))) return { done: true, value: undefined };
      // Another next() may have seen the value meanwhile.
      if (!this.#first && this.#watched.look() !== true) continue;
      this.#first = false;
      return { done: false, value: this.#watched.see() };
    }
  }

  /** @internal */
  look(): boolean | typeof NOTHING {
    if (this.isLeft) return false;
    return this.#first || this.#watched.look();
  }
}
