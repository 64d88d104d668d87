import {
  requireDuration,
  requireNonNegativeInteger,
  requirePositiveInteger,
  systemClock,
  requireFunction,
} from '../../core/index.js';
import { FullError, SendError, TimeoutError } from '../errors.js';
import { ignore, ready, readyVoid, refused, rejected, markHandled } from '../internal/budget.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { pin } from '../internal/pinned.js';
import { Chan, UNBOUNDED, type SendSide, type ChannelOptions, settingsOf } from './chan.js';
import { OwnedPermit, Permit, PermitIterator } from './permit.js';
import { Receiver } from './receiver.js';
import { SenderHandle, WeakSender } from './sender-handle.js';
import { closedWhileReserving, closedWhileSending, ReserveWaiter, SendWaiter } from './waits.js';

/**
 * Makes a bounded channel: it holds at most `capacity` values, and a send waits for room.
 *
 * Values are received in the order in which they got their slots. Any value travels as it is, `undefined`, promises and thenables included.
 *
 * @param capacity The number of values that the channel holds, at least 1.
 * @param options See {@link ChannelOptions}.
 * @returns The sender, which can be cloned, and the receiver.
 * @throws RangeError When the capacity is not a positive integer.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<string>(2);
 * await tx.send('one');
 * await tx.send('two');
 * tx.close();
 * await rx.recv(); // => { done: false, value: 'one' }
 * await rx.recv(); // => { done: false, value: 'two' }
 * await rx.recv(); // => { done: true, value: undefined }
 * ```
 */
export function channel<T>(capacity: number, options?: ChannelOptions<T>): [Sender<T>, Receiver<T>] {
  const action = 'Cannot create channel';
  requirePositiveInteger(action, 'capacity', capacity, UNBOUNDED - 1);
  const chan = new Chan<T>(capacity, settingsOf(action, options));
  return [new Sender(chan), new Receiver(chan)];
}

/**
 * The sending half of a bounded channel.
 *
 * Clone it for each producer, and close each clone: JavaScript has no destructor. `using tx = ...` closes it at the end of a block.
 */
export class Sender<in T> extends SenderHandle<T> {
  /** The number of free slots. Held permits count as taken. */
  get capacity(): number {
    return this.chan.shown(this.chan.free);
  }

  /** The number of all slots. */
  get maxCapacity(): number {
    return this.chan.max;
  }

  /**
   * Sends a value, waiting for room when the channel is full. Blocked senders are served first come, first served.
   *
   * It resolves when the value is in the channel, received or not.
   *
   * **Cancel safety:** the message goes with the call: an aborted send has not sent its value. Use {@link Sender.reserve} to keep the value.
   *
   * @param value Any value.
   * @param options A signal that abandons the send.
   * @throws SendError (rejects) When the receiver has closed or is gone, or this sender is closed; `error.value` holds the value.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<number>(1);
   * await tx.send(1);
   * const blocked = tx.send(2);
   * await rx.recv(); // => { done: false, value: 1 }
   * await blocked;
   * rx.len; // => 1
   * ```
   */
  send(value: T, options?: WaitOptions): Promise<void> {
    const chan = this.chan;
    if (options !== undefined || this.isClosed) {
      return this.sendTimeout(value, Number.POSITIVE_INFINITY, options);
    }
    if (chan.free > 0) return this.#offer(value);
    const waiter = new SendWaiter(chan, value);
    chan.queueSender(waiter);
    return waiter.promise;
  }

  /**
   * Sends a value, if the channel has room.
   *
   * @param value Any value.
   * @throws FullError When the channel is full; `error.value` holds the value.
   * @throws SendError When the receiver has closed or is gone, or this sender is closed; `error.value` holds the value.
   * @example
   * ```ts
   * const [tx] = mpsc.channel<number>(1);
   * tx.trySend(1);
   * tx.trySend(2); // throws FullError
   * ```
   */
  trySend(value: T): void {
    const { chan } = this;
    if (this.isClosed) throw closedWhileSending(value);
    if (chan.free <= 0) throw new FullError('Cannot send: the channel is full', value);
    chan.offer(value);
  }

  /**
   * Sends a value, waiting for room no longer than `ms` on the channel's clock.
   *
   * **Cancel safety:** the message goes with the call, as for {@link Sender.send}.
   *
   * @param value Any value.
   * @param ms The longest wait for room, in milliseconds.
   * @param options A signal that abandons the send.
   * @throws TimeoutError (rejects) When the channel had no room in time; `error.value` holds the value.
   * @throws SendError (rejects) When the channel is closed; `error.value` holds the value.
   */
  sendTimeout(value: T, ms: number, options?: WaitOptions): Promise<void> {
    const signal = signalOf('Cannot send', options);
    ms = requireDuration('Cannot send', 'ms', ms);
    if (signal?.aborted) return rejected(signal.reason);
    const chan = this.chan;
    if (this.isClosed) return refused(closedWhileSending(value));
    if (chan.free > 0) return this.#offer(value);
    if (ms === 0) return refused(noRoomWithin(ms, value));
    const waiter = new SendWaiter(chan, value);
    chan.queueSender(waiter);
    const sent = waiter.until(signal);
    if (Number.isFinite(ms)) {
      // The send is awaited, so that its timer holds the process.
      const { clock = systemClock } = chan.settings ?? {};
      try {
        const timer = clock.setTimer(() => waiter.onAbort(noRoomWithin(ms, value)), ms, { ref: true });
        sent.finally(() => timer.cancel()).catch(ignore);
      } catch (error) {
        waiter.onAbort(error);
      }
    }
    return sent;
  }

  /**
   * Sends many values in order, waiting for room as often as needed. A value is read from an iterator only when it has a slot, and so is the
   * iterator's end; an array or a set is read ahead.
   *
   * **Cancel safety:** sent values stay sent. Pass an iterator to keep the others: an aborted call has read no more than it sent.
   *
   * @param values The values. An iterator is not closed.
   * @param options A signal that abandons the rest.
   * @returns The number of values sent.
   * @throws SendError (rejects) When the channel closes; `error.value` is an array of the values left. It is empty for a generator or another
   * iterable that may have no end: the values left are still in it.
   */
  sendMany(values: Iterable<T>, options?: WaitOptions): Promise<number> {
    const signal = signalOf('Cannot send', options);
    requireFunction('Cannot send', 'values[Symbol.iterator]', values?.[Symbol.iterator]);
    const sending = new Promise<number>((resolve, reject) => {
      this.#sendMany(values, signal).then(resolve, (error: unknown) => {
        // Like a single send: a channel that closes is no unhandled rejection.
        if (error instanceof SendError) markHandled(sending);
        reject(error);
      });
    });
    return sending;
  }

  /**
   * Waits for room and holds it: a slot for one value, to be sent later.
   *
   * **Cancel safety:** cancel safe, but loses its place in the queue.
   *
   * @param options A signal that abandons the wait.
   * @returns The permit; use it or release it.
   * @throws SendError (rejects) When the channel is closed.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<string>(1);
   * const permit = await tx.reserve();
   * tx.capacity; // => 0
   * permit.send('reserved');
   * await rx.recv(); // => { done: false, value: 'reserved' }
   * ```
   */
  reserve(options?: WaitOptions): Promise<Permit<T>> {
    return this.#reserve(1, options, toPermit);
  }

  /**
   * Holds room for one value, if the channel has any.
   *
   * @throws FullError When the channel is full.
   * @throws SendError When the channel is closed.
   */
  tryReserve(): Permit<T> {
    return new Permit(this.#claim(1));
  }

  /**
   * Waits for room for several values and holds it. The slots it gathers while it waits are kept from others.
   *
   * **Cancel safety:** cancel safe, but loses its place in the queue; gathered slots go to the next.
   *
   * @param count The number of slots; 0 succeeds at once.
   * @param options A signal that abandons the wait.
   * @returns The permits, given out one at a time.
   * @throws SendError (rejects) When the channel is closed.
   * @throws RangeError When the count is more than the channel can ever hold.
   */
  reserveMany(count: number, options?: WaitOptions): Promise<PermitIterator<T>> {
    requireNonNegativeInteger('Cannot reserve', 'count', count, this.chan.max);
    return this.#reserve(count, options, toPermits);
  }

  /**
   * Holds room for several values, if the channel has enough.
   *
   * @param count The number of slots; 0 succeeds even when the channel is full.
   * @throws FullError When the channel has too little room.
   * @throws SendError When the channel is closed.
   */
  tryReserveMany(count: number): PermitIterator<T> {
    requireNonNegativeInteger('Cannot reserve', 'count', count);
    return new PermitIterator(this.#claim(count), count);
  }

  /**
   * Waits for room and holds it in a permit that owns this sender: the sender moves into the permit, and comes back as the result of
   * {@link OwnedPermit.send} or {@link OwnedPermit.release}. Clone the sender first to keep one.
   *
   * **Cancel safety:** cancel safe, but loses its place in the queue; the sender stays open.
   *
   * @param options A signal that abandons the wait.
   * @throws SendError (rejects) When the channel is closed.
   */
  reserveOwned(options?: WaitOptions): Promise<OwnedPermit<T>> {
    return this.#reserve(1, options, (chan) => this.#own(chan));
  }

  /**
   * Holds room, if the channel has any, in a permit that owns this sender.
   *
   * @throws FullError When the channel is full; the sender stays open.
   * @throws SendError When the channel is closed.
   */
  tryReserveOwned(): OwnedPermit<T> {
    return this.#own(this.#claim(1));
  }

  /**
   * Makes another sender into the same channel, counted and closed on its own.
   *
   * @throws SendError When this sender is closed.
   */
  clone(): Sender<T> {
    return new Sender(this.cloned());
  }

  /** Makes a handle that does not keep the channel open. */
  downgrade(): WeakSender<T> {
    return new WeakSender(this.chan, toSender);
  }

  /** Sends into a free slot. A channel that crosses a port refuses a value that cannot be cloned. */
  #offer(value: T): Promise<void> {
    try {
      this.chan.offer(value);
      return readyVoid();
    } catch (error) {
      return rejected(error);
    }
  }

  // A sender that closed while its reservation waited is counted no more: the permit then counts for itself.
  #own(chan: SendSide<T>): OwnedPermit<T> {
    if (!this.leave()) chan.strong++;
    return new OwnedPermit(chan, () => toSender(chan));
  }

  #claim(slots: number): SendSide<T> {
    const { chan } = this;
    if (this.isClosed) throw closedWhileReserving();
    if (!chan.hold(slots)) throw new FullError('Cannot reserve: the channel is full', undefined);
    return chan;
  }

  #reserve<R>(
    slots: number,
    options: WaitOptions | undefined,
    toPermitOf: (chan: SendSide<T>, slots: number) => R,
  ): Promise<R> {
    const signal = signalOf('Cannot reserve', options);
    if (signal?.aborted) return rejected(signal.reason);
    const { chan } = this;
    if (this.isClosed) return refused(closedWhileReserving());
    if (chan.hold(slots)) return ready(toPermitOf(chan, slots));
    const waiter = new ReserveWaiter(chan, slots, toPermitOf);
    chan.queueSender(waiter);
    return waiter.until(signal);
  }

  /**
   * Invariant: the slot comes first. A value is read from an iterator only when it has a slot, so that none is read and not sent. An array or a set
   * keeps its values, and is read ahead: its end needs no slot.
   */
  async #sendMany(values: Iterable<T>, signal: AbortSignal | undefined): Promise<number> {
    const iterator = values[Symbol.iterator]();
    const left = hasSize(values) ? iterator : undefined;
    if (signal?.aborted) return rejected(signal.reason);
    if (this.isClosed) return rejected(closedBefore(left, undefined));
    const { chan } = this;
    let sent = 0;
    let ahead: IteratorResult<T> | undefined;
    // Counted as a sender of its own, so that it may finish when this sender is closed.
    chan.strong++;
    try {
      for (;;) {
        ahead ??= left?.next();
        if (ahead?.done) return ready(sent);
        if (signal?.aborted) throw signal.reason;
        if (chan.state !== 'open') throw closedBefore(left, ahead);
        if (!chan.hold(1) && !(await waitForSlot(chan, signal))) continue;
        if (ahead !== undefined) chan.put(ahead.value);
        else if (!sendNext(chan, iterator)) return ready(sent);
        ahead = undefined;
        sent++;
      }
    } finally {
      chan.dropSender();
    }
  }
}

/** Waits for a slot and holds it. @returns False when the signal has fired or the channel has closed. */
function waitForSlot<T>(chan: SendSide<T>, signal: AbortSignal | undefined): Promise<boolean> {
  const waiter = new ReserveWaiter(chan, 1, ignore);
  chan.queueSender(waiter);
  return waiter.until(signal).then(
    () => true,
    () => false,
  );
}

/** Sends the next value into a held slot. @returns False, and the slot is free again, at the end of the iterator. */
function sendNext<T>(chan: SendSide<T>, iterator: Iterator<T>): boolean {
  let next: IteratorResult<T> | undefined;
  try {
    next = iterator.next();
  } finally {
    if (next === undefined || next.done) chan.release(1);
  }
  if (next.done) return false;
  chan.put(next.value);
  return true;
}

/** Whether an iterable says how many values it has; another one, such as a generator, may never end. */
function hasSize(values: Iterable<unknown>): boolean {
  const { length, size } = values as { length?: unknown; size?: unknown };
  return typeof (length ?? size) === 'number';
}

/** The error with the values left of an iterable that is read ahead, the last one read included. */
function closedBefore<T>(left: Iterator<T> | undefined, ahead: IteratorResult<T> | undefined): SendError<T[]> {
  const rest: T[] = [];
  for (let next = ahead ?? left?.next(); next && !next.done; next = left?.next()) rest.push(next.value);
  return closedWhileSending(rest);
}

function noRoomWithin(ms: number, value: unknown): TimeoutError {
  return new TimeoutError(`Cannot send: no room within ${ms} ms`, value);
}

function toSender<T>(chan: SendSide<T>): Sender<T> {
  return new Sender(chan);
}

function toPermit<T>(chan: SendSide<T>): Permit<T> {
  return new Permit(chan);
}

function toPermits<T>(chan: SendSide<T>, slots: number): PermitIterator<T> {
  return new PermitIterator(chan, slots);
}

// One instance of every class that a wait needs, waiting for ever.
const [tx, rx] = channel<number>(1);
const { chan } = tx;
void rx.recv();
void rx.recv();
void rx.recvMany(1);
pin(
  tx,
  rx,
  rx[Symbol.asyncIterator](),
  new SendWaiter(chan, 1),
  new ReserveWaiter(chan, 1, toPermit),
  new Permit(chan),
);
