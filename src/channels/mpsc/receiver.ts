import { faultOf, requireFunction, requireLimit } from '../../core/index.js';
import { afterPause, ready, readyVoid, rejected, spend } from '../internal/budget.js';
import { printedAs } from '../internal/inspect.js';
import { signalOf, type WaitOptions } from '../internal/options.js';
import { ValueWaiter } from '../internal/waiters.js';
import type { Chan } from './chan.js';
import { BatchWaiter, type Received, type RecvWaiter, type WaitOwner } from './waits.js';
import type { Selectable, SelectSource } from '../select/selectable.js';

/** What {@link Receiver.tryRecv} found. */
export type TryReceived<T> =
  | { readonly state: 'ok'; readonly value: T }
  | { readonly state: 'empty' }
  | { readonly state: 'closed'; readonly reason?: unknown };

/**
 * The receiving half of a channel, bounded or unbounded.
 *
 * There is one receiver; it may be shared, and concurrent waits on it are served in order. As an arm of `select` it wins with the next value, and
 * is disabled once the channel has ended (see `withEnd`). As an async iterable it gives every value; leaving the iteration early leaves the
 * channel open.
 */
export class Receiver<T> implements Selectable<T>, AsyncIterable<T>, Disposable, AsyncDisposable {
  readonly #chan: Chan<T>;

  /** @internal */
  constructor(chan: Chan<T>) {
    this.#chan = chan;
  }

  /** How many values are waiting. */
  get len(): number {
    return this.#chan.length;
  }

  /** Whether no value is waiting. */
  get isEmpty(): boolean {
    return this.len === 0;
  }

  /** How many slots are free: `Infinity` for an unbounded channel. */
  get capacity(): number {
    return this.#chan.shown(this.#chan.free);
  }

  /** How many slots there are in all: `Infinity` for an unbounded channel. */
  get maxCapacity(): number {
    return this.#chan.shown(this.#chan.max);
  }

  /** Whether nothing can be sent any more, though values may be left: this receiver has closed, or every sender and permit is gone. */
  get isClosed(): boolean {
    const chan = this.#chan;
    return chan.closed || chan.isSenderless();
  }

  /** How many senders there are, permits that own one included. */
  get senderStrongCount(): number {
    return this.#chan.strong;
  }

  /** How many weak senders there are. */
  get senderWeakCount(): number {
    return this.#chan.weak;
  }

  /**
   * Waits for the next value.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken nothing; the value goes to the next.
   *
   * @param options A signal that abandons the wait.
   * @returns `{ done: false, value }`, or `{ done: true }` once the channel has ended: no sender, no permit and no value is left.
   * @throws Whatever reason a sender closed with (rejects), once the channel has ended.
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
    return chan.length > 0 ? takeOne(chan) : waitForOne(chan, signal, null);
  }

  /**
   * Takes the next value if there is one now.
   *
   * @returns `{ state: 'ok', value }`, `{ state: 'empty' }` while more may come, or `{ state: 'closed' }`, with the reason if there is one.
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
  tryRecv(): TryReceived<T> {
    const chan = this.#chan;
    if (chan.length > 0) return { state: 'ok', value: chan.take() };
    if (!chan.hasEnded()) return { state: 'empty' };
    return chan.failure === null ? { state: 'closed' } : { state: 'closed', reason: chan.failure.reason };
  }

  /**
   * Waits for at least one value and takes what is there, up to `limit`, as a new array.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken nothing.
   *
   * @param limit How many at most, `Infinity` for all that there are; for 0 it resolves at once.
   * @param options A signal that abandons the wait.
   * @returns The values; none once the channel has ended, or for a limit of 0.
   * @throws Whatever reason a sender closed with (rejects), once the channel has ended.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<number>(4);
   * for (const value of [1, 2, 3]) tx.trySend(value);
   * await rx.recvMany(2); // => [1, 2]
   * await rx.recvMany(2); // => [3]
   * ```
   */
  recvMany(limit: number, options?: WaitOptions): Promise<T[]> {
    return this.#recvMany(limit, options, (values) => values);
  }

  /**
   * Waits for at least one value and appends what is there, up to `limit`, to a buffer of yours.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken nothing and left the buffer as it was.
   *
   * @param buffer What to append to; its contents stay.
   * @param limit How many at most, `Infinity` for all that there are; for 0 it resolves at once.
   * @param options A signal that abandons the wait.
   * @returns How many were appended; 0 once the channel has ended, or for a limit of 0.
   * @throws Whatever reason a sender closed with (rejects), once the channel has ended; whatever the buffer throws when it is appended to, and
   * then the values that are not in it are in the channel again.
   */
  recvManyInto(buffer: T[], limit: number, options?: WaitOptions): Promise<number> {
    if (!Array.isArray(buffer) || !Object.isExtensible(buffer)) {
      throw faultOf('Cannot receive', 'buffer', 'an array that can grow', buffer);
    }
    return this.#recvMany(limit, options, (values) => this.#chan.moveInto(buffer, values));
  }

  /**
   * Calls back for each value until the channel ends: the fastest way to take a stream of single values. What is there is taken synchronously,
   * one value and one call at a time; a callback that returns a promise is awaited before the next value is taken.
   *
   * **Cancel safety:** cancel safe. When the signal fires no further value is taken, and a callback that is at work is awaited first; every value
   * that was taken has been given to the callback, every other stays in the channel. The same holds when the callback throws.
   *
   * @param callback What takes a value. What it throws, or rejects with, ends the call.
   * @param options A signal that abandons the rest.
   * @returns When the channel has ended: no sender, no permit and no value is left.
   * @throws What the callback throws, or whatever reason a sender closed with (rejects).
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
      if (chan.length > 0) {
        value = chan.take();
        // A callback that sends to its own channel would otherwise keep everything else waiting.
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
   * Waits until there is something to be had: until {@link Receiver.tryRecv} would not answer `empty`. It takes nothing. Where receivers share
   * the channel, another may be quicker; so look again, and wait again.
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
    if (chan.length > 0 || chan.hasEnded()) return readyVoid();
    const waiter = new ValueWaiter<void>();
    chan.queueLooker(waiter);
    return waiter.until(signal);
  }

  /**
   * Closes the channel for sending, and leaves what is in it to be received: buffered values, and those of permits that are still held. Every
   * blocked send and reservation is rejected. A second call does nothing.
   */
  close(): void {
    this.#chan.close();
  }

  /**
   * The values of the channel, until it ends. Leaving the iteration early leaves the channel open and takes no value; it settles a `next()` that
   * still waits.
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

  /** How `select` looks at it. */
  selectSource(): SelectSource<T> {
    return this.#chan;
  }

  /**
   * Drops the receiver: closes the channel and lets go of every value in it, to `onUndelivered` where the channel has one. Waits for a value end.
   * A second call does nothing.
   */
  [Symbol.dispose](): void {
    this.#chan.drop();
  }

  /** The same as the synchronous form. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#chan.drop();
  }

  #recvMany<R>(limit: number, options: WaitOptions | undefined, toResult: (values: T[]) => R): Promise<R> {
    requireLimit('Cannot receive', limit);
    const signal = signalOf('Cannot receive', options);
    if (signal?.aborted) return rejected(signal.reason);
    const chan = this.#chan;
    const waiter = new BatchWaiter(chan, limit, toResult);
    if (limit === 0 || chan.length > 0) waiter.end();
    else {
      chan.register(waiter);
      chan.checkEnd();
    }
    return waiter.until(signal);
  }
}

/** The receiver's own iterator: it waits like `recv`, and ends when the channel does or when it is left. */
class ReceiverIterator<T> implements AsyncIterableIterator<T, undefined>, WaitOwner<T> {
  readonly #chan: Chan<T>;
  #left = false;
  waits: Set<RecvWaiter<T>> | undefined = undefined;

  constructor(chan: Chan<T>) {
    this.#chan = chan;
  }

  next(): Promise<Received<T>> {
    const chan = this.#chan;
    if (this.#left) return ready<Received<T>>({ done: true, value: undefined });
    return chan.length > 0 ? takeOne(chan) : waitForOne(chan, undefined, this);
  }

  return(): Promise<Received<T>> {
    this.#left = true;
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

// The result is made where the promise is: the compiler then knows that it is no thenable, and need not ask.
function takeOne<T>(chan: Chan<T>): Promise<Received<T>> {
  const value = chan.take();
  return spend() ? afterPause<Received<T>>({ done: false, value }) : Promise.resolve({ done: false as const, value });
}

function waitForOne<T>(
  chan: Chan<T>,
  signal: AbortSignal | undefined,
  owner: WaitOwner<T> | null,
): Promise<Received<T>> {
  if (chan.hasEnded()) return atEnd<Received<T>>(chan, { done: true, value: undefined });
  return chan.park(signal, owner);
}

/** What a wait gives once the channel has ended. */
function atEnd<R>({ failure }: Pick<Chan<never>, 'failure'>, result: R): Promise<R> {
  return failure === null ? ready(result) : rejected(failure.reason);
}

printedAs(Receiver, 'len', 'capacity', 'isClosed');
