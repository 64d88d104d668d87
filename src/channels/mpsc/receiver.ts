import { faultOf, requireFunction, requireLimit } from '../../core/index.js';
import { afterPause, ready, readyVoid, rejected, spend } from '../internal/budget.js';
import { printedAs } from '../internal/inspect.js';
import { signalOf, type TryRecvResult, type WaitOptions } from '../internal/wait.js';
import { ValueWaiter } from '../internal/waiters.js';
import type { Selectable, SelectSource } from '../select/selectable.js';
import type { Chan } from './chan.js';
import { BatchWaiter, type Received, type RecvWaiter, type WaitOwner } from './waits.js';

/**
 * The receiving half of a channel, bounded or unbounded.
 *
 * A channel has one receiver. It may be shared: concurrent waits are served in order. As an arm of `select` it wins with the next value, and is
 * disabled once the channel has ended (see `withEnd`). As an async iterable it gives every value; leaving the iteration early leaves the channel
 * open.
 */
export class Receiver<T> implements Selectable<T>, AsyncIterable<T>, Disposable, AsyncDisposable {
  readonly #chan: Chan<T>;

  /** @internal */
  constructor(chan: Chan<T>) {
    this.#chan = chan;
  }

  /** The number of values in the channel. */
  get len(): number {
    return this.#chan.values.length;
  }

  /** Whether the channel holds no value. */
  get isEmpty(): boolean {
    return this.len === 0;
  }

  /** The number of free slots: `Infinity` for an unbounded channel. */
  get capacity(): number {
    return this.#chan.shown(this.#chan.free);
  }

  /** The number of all slots: `Infinity` for an unbounded channel. */
  get maxCapacity(): number {
    return this.#chan.shown(this.#chan.max);
  }

  /** Whether nothing more can be sent: this receiver has closed, or every sender and permit is gone. Values may be left. */
  get isClosed(): boolean {
    const chan = this.#chan;
    return chan.state !== 'open' || chan.isSenderless();
  }

  /** The number of senders, owned permits included. */
  get senderStrongCount(): number {
    return this.#chan.strong;
  }

  /** The number of weak senders. */
  get senderWeakCount(): number {
    return this.#chan.weak;
  }

  /**
   * Waits for the next value.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken nothing; the value goes to the next wait.
   *
   * @param options A signal that abandons the wait.
   * @returns `{ done: false, value }`, or `{ done: true }` once the channel has ended: it has no sender, no permit and no value.
   * @throws The reason that a sender closed with (rejects), once the channel has ended.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<undefined>(1);
   * tx.trySend(undefined);
   * tx.close();
   * await rx.recv(); // => { done: false, value: undefined }
   * await rx.recv(); // => { done: true, value: undefined }
   * ```
   */
  recv(options?: WaitOptions): Promise<Received<T>> {
    const signal = signalOf('Cannot receive', options);
    if (signal?.aborted) return rejected(signal.reason);
    const chan = this.#chan;
    return chan.values.length > 0 ? takeOne(chan) : waitForOne(chan, signal, null);
  }

  /**
   * Takes the next value, without waiting.
   *
   * @returns `{ state: 'ok', value }`, `{ state: 'empty' }` while more may come, or `{ state: 'closed' }` with the reason that a sender closed with.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<number>(1);
   * rx.tryRecv(); // => { state: 'empty' }
   * tx.trySend(1);
   * tx.close();
   * rx.tryRecv(); // => { state: 'ok', value: 1 }
   * rx.tryRecv(); // => { state: 'closed' }
   * ```
   */
  tryRecv(): TryRecvResult<T> {
    const chan = this.#chan;
    if (chan.values.length > 0) return { state: 'ok', value: chan.take() };
    if (chan.state !== 'ended') return { state: 'empty' };
    return chan.failure === null ? { state: 'closed' } : { state: 'closed', reason: chan.failure.reason };
  }

  /**
   * Waits for at least one value and takes all that the channel holds, up to `limit`, as a new array.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken nothing.
   *
   * @param limit The most values to take; `Infinity` for no limit. For 0 it resolves at once.
   * @param options A signal that abandons the wait.
   * @returns The values; an empty array once the channel has ended, or for a limit of 0.
   * @throws The reason that a sender closed with (rejects), once the channel has ended.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<number>(4);
   * for (const value of [1, 2, 3]) tx.trySend(value);
   * await rx.recvMany(2); // => [1, 2]
   * await rx.recvMany(2); // => [3]
   * ```
   */
  recvMany(limit: number, options?: WaitOptions): Promise<T[]> {
    return this.#recvMany<T[]>([], limit, options, false);
  }

  /**
   * Waits for at least one value and appends all that the channel holds, up to `limit`, to the caller's buffer.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken nothing and left the buffer as it was.
   *
   * @param buffer The array to append to; its contents stay.
   * @param limit The most values to take; `Infinity` for no limit. For 0 it resolves at once.
   * @param options A signal that abandons the wait.
   * @returns The number of values appended; 0 once the channel has ended, or for a limit of 0.
   * @throws The reason that a sender closed with (rejects), once the channel has ended. Any exception of the buffer (rejects); the values that are
   * not in it stay in the channel.
   */
  recvManyInto(buffer: T[], limit: number, options?: WaitOptions): Promise<number> {
    if (!Array.isArray(buffer) || !Object.isExtensible(buffer)) {
      throw faultOf('Cannot receive', 'buffer', 'an array that can grow', buffer);
    }
    return this.#recvMany<number>(buffer, limit, options, true);
  }

  /**
   * Calls back for each value until the channel ends: the fastest way to take a stream of single values. Buffered values are taken one by one
   * without waiting in between; a callback that returns a promise is awaited before the next value is taken.
   *
   * **Cancel safety:** cancel safe. When the signal fires, a running callback is awaited and no further value is taken: every value was either
   * given to the callback or stays in the channel. The same holds when the callback throws.
   *
   * @param callback Takes a value. An exception or rejection ends the call.
   * @param options A signal that abandons the rest.
   * @returns Resolves when the channel has ended.
   * @throws Any exception of the callback, or the reason that a sender closed with (rejects).
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<number>(4);
   * for (const value of [1, 2, 3]) tx.trySend(value);
   * tx.close();
   * let sum = 0;
   * await rx.forEach((value) => {
   *   sum += value;
   * });
   * sum; // => 6
   * ```
   */
  forEach(callback: (value: T) => unknown, options?: WaitOptions): Promise<void> {
    const action = 'Cannot receive';
    requireFunction(action, 'callback', callback);
    return this.#forEach(callback, signalOf(action, options));
  }

  async #forEach(callback: (value: T) => unknown, signal: AbortSignal | undefined): Promise<void> {
    const chan = this.#chan;
    for (;;) {
      if (signal?.aborted) throw signal.reason;
      let value: T;
      if (chan.values.length > 0) {
        value = chan.take();
        // A callback that sends to its own channel would otherwise starve timers and I/O.
        if (spend()) await afterPause(undefined);
      } else {
        const received = await waitForOne(chan, signal, null);
        if (received.done) return;
        value = received.value;
      }
      const result = callback(value);
      if (typeof result === 'object' && result !== null && 'then' in result) await result;
    }
  }

  /**
   * Waits until {@link Receiver.tryRecv} would not give `empty`, and takes nothing. A shared receiver may find the value gone: look again, and
   * wait again.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options A signal that abandons the wait.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<number>(4);
   * tx.trySend(1);
   * await rx.ready();
   * rx.tryRecv(); // => { state: 'ok', value: 1 }
   * ```
   */
  ready(options?: WaitOptions): Promise<void> {
    const signal = signalOf('Cannot wait', options);
    if (signal?.aborted) return rejected(signal.reason);
    const chan = this.#chan;
    if (chan.values.length > 0 || chan.state === 'ended') return readyVoid();
    const waiter = new ValueWaiter<void>();
    chan.queueLooker(waiter);
    return waiter.until(signal);
  }

  /**
   * Closes the channel for sending. Buffered values, and those of permits that are still held, can be received; every blocked send and reservation
   * is rejected. A second call does nothing.
   */
  close(): void {
    this.#chan.close();
  }

  /**
   * Iterates over the values until the channel ends. Leaving the iteration early leaves the channel open and takes no value; it settles a pending
   * `next()`.
   *
   * **Cancel safety:** cancel safe.
   *
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<number>(4);
   * for (const value of [1, 2, 3]) tx.trySend(value);
   * const seen: number[] = [];
   * for await (const value of rx) {
   *   seen.push(value);
   *   if (value === 2) break;
   * }
   * seen; // => [1, 2]
   * rx.tryRecv(); // => { state: 'ok', value: 3 }
   * ```
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return new ReceiverIterator(this.#chan);
  }

  /** The receiver as an arm of `select`. */
  selectSource(): SelectSource<T> {
    return this.#chan;
  }

  /**
   * Closes the channel and drops its values; `onUndelivered` of the channel is called with each. Pending receives end. A second call does
   * nothing.
   */
  [Symbol.dispose](): void {
    this.#chan.drop();
  }

  /** The same as `Symbol.dispose`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#chan.drop();
  }

  #recvMany<R extends number | T[]>(
    buffer: T[],
    limit: number,
    options: WaitOptions | undefined,
    isCounted: boolean,
  ): Promise<R> {
    requireLimit('Cannot receive', limit);
    const signal = signalOf('Cannot receive', options);
    if (signal?.aborted) return rejected(signal.reason);
    const chan = this.#chan;
    if (limit > 0 && chan.values.length === 0 && chan.state !== 'ended') {
      const waiter = new BatchWaiter<T, R>(chan, buffer, limit, isCounted);
      chan.register(waiter);
      return waiter.until(signal);
    }
    try {
      const count = chan.takeInto(buffer, limit);
      const result = (isCounted ? count : buffer) as R;
      return limit > 0 && count === 0 ? atEnd(chan, result) : ready(result);
    } catch (error) {
      return rejected(error);
    }
  }
}

/** The receiver's own iterator: it waits like `recv`, and ends when the channel does or when it is left. */
class ReceiverIterator<T> implements AsyncIterableIterator<T, undefined>, WaitOwner<T> {
  readonly #chan: Chan<T>;
  #isLeft = false;
  waits: Set<RecvWaiter<T>> | undefined = undefined;

  constructor(chan: Chan<T>) {
    this.#chan = chan;
  }

  next(): Promise<Received<T>> {
    const chan = this.#chan;
    if (this.#isLeft) return ready<Received<T>>({ done: true, value: undefined });
    return chan.values.length > 0 ? takeOne(chan) : waitForOne(chan, undefined, this);
  }

  return(): Promise<Received<T>> {
    this.#isLeft = true;
    this.#chan.endReceiversOf(this);
    return ready<Received<T>>({ done: true, value: undefined });
  }

  throw(error?: unknown): Promise<Received<T>> {
    void this.return();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

// The result is made beside its promise, so that the compiler knows it is no thenable.
function takeOne<T>(chan: Chan<T>): Promise<Received<T>> {
  const value = chan.take();
  return spend() ? afterPause<Received<T>>({ done: false, value }) : Promise.resolve({ done: false as const, value });
}

function waitForOne<T>(
  chan: Chan<T>,
  signal: AbortSignal | undefined,
  owner: WaitOwner<T> | null,
): Promise<Received<T>> {
  if (chan.state === 'ended') return atEnd<Received<T>>(chan, { done: true, value: undefined });
  return chan.receive(signal, owner);
}

/** The outcome of a wait on a channel that has ended. */
function atEnd<R>({ failure }: Pick<Chan<never>, 'failure'>, result: R): Promise<R> {
  return failure === null ? ready(result) : rejected(failure.reason);
}

printedAs(Receiver, 'len', 'capacity', 'isClosed');
