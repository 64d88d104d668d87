/**
 * The core of bounded and unbounded channels.
 *
 * Invariants:
 * - A slot is free, held (by a permit, or gathered by a sender that waits for several) or filled: `max - free` = held + `values.length`. An
 *   unbounded channel has 2^30 slots.
 * - A value in the channel and a waiting receiver exclude each other; so do a free slot and a waiting sender: a call that makes room for the other
 *   side serves it before it returns.
 * - A value goes to the receiver that has waited longest, in the call that sends it. What wins, a value or another source that the caller waits
 *   for, does not depend on what the channel carried before.
 * - Slots go to waiting senders first come, first served; the oldest gathers all it needs before the next gets one.
 * - The state only advances, by {@link CHAN_TRANSITIONS}. The channel ends when its receiver is gone, or when nothing can come any more: the
 *   receiver has closed or no sender is left, and every slot is free.
 * - `strong` leaves 0 only when a reservation outlives its sender and becomes an owned permit; until then its slot keeps the channel from ending.
 */
import { type Clock, requireFunction, requireOptions } from '../../core/index.js';
import { refused, settle, spend } from '../internal/budget.js';
import { requireClock } from '../internal/wait.js';
import { ParkingLot, unlink, type Waiter, WaiterList, type WaitNode } from '../internal/waiters.js';
import { ENDED, FAILED, PENDING, type Poll, READY } from '../select/selectable.js';
import type { SelectSource, SelectWaiter, Slot } from '../select/selectable.js';
import { ValueQueue } from './queue.js';
import { type Received, RecvWaiter, type WaitOwner } from './waits.js';

/** The options of a channel, beside its capacity. */
export interface ChannelOptions<T> {
  /**
   * Called once with each value that was accepted and can no longer be received: the values in the channel when its receiver is disposed of, and
   * those sent on permits afterwards. For values that hold something to release. A send that fails hands its value back instead.
   */
  readonly onUndelivered?: ((value: T) => void) | undefined;
  /** The clock of `sendTimeout`; the system's by default. */
  readonly clock?: Clock | undefined;
}

/** Checks the options of a channel. */
export function settingsOf<T>(action: string, options: ChannelOptions<T> | undefined): ChannelOptions<T> | null {
  if (options === undefined) return null;
  const { onUndelivered, clock } = requireOptions(action, options, ['onUndelivered', 'clock']);
  if (onUndelivered !== undefined) requireFunction(action, 'onUndelivered', onUndelivered);
  if (clock !== undefined) requireClock(action, clock);
  return { onUndelivered, clock };
}

/** The slots of an unbounded channel: the largest power of two that is a small integer on every engine. */
export const UNBOUNDED: number = 2 ** 30;

/**
 * The state of a channel:
 * - `open`: values can be sent;
 * - `closing`: the receiver takes no new sends; buffered values and those of held permits still come;
 * - `ended`: no value will ever come.
 */
export type ChanState = 'open' | 'closing' | 'ended';

/** The states that may follow each state: a channel only advances. A test holds the code to it, edge by edge. */
export const CHAN_TRANSITIONS: Readonly<Record<ChanState, readonly ChanState[]>> = {
  open: ['closing', 'ended'],
  closing: ['ended'],
  ended: [],
};

/** A waiter for slots. */
export interface SlotWaiter extends WaitNode {
  /** The number of slots it still needs. */
  need: number;
  /** The number of slots it has. */
  gathered(): number;
  /** Called out of the queue, when it has all its slots. */
  deliver(): void;
  /** Called instead when the channel closes. */
  end(): void;
}

/** The channel as its senders see it: values go in, and none comes out. */
export interface SendSide<in T>
  extends Pick<
    Chan<never>,
    | 'max'
    | 'settings'
    | 'state'
    | 'free'
    | 'strong'
    | 'weak'
    | 'failure'
    | 'closing'
    | 'shown'
    | 'hold'
    | 'release'
    | 'queueSender'
    | 'withdrawSender'
    | 'dropSender'
  > {
  offer(value: T): void;
  put(value: T): void;
}

export class Chan<T> implements SelectSource<T> {
  readonly max: number;
  readonly settings: ChannelOptions<T> | null;
  readonly values: ValueQueue<T>;
  state: ChanState = 'open';
  free: number;
  /** Open senders and owned permits. */
  strong = 1;
  weak = 0;
  /** The first reason that a sender closed with. */
  failure: { readonly reason: unknown } | null = null;
  receivers: WaiterList<Waiter<T>> | null = null;
  /** Waiters that only want to know that there is a value, or the end. They are told when no receiver is left to serve. */
  lookers: ParkingLot | null = null;
  senders: WaiterList<SlotWaiter> | null = null;
  /** The waiters for the receiver to close: each sender has a part of its own. */
  closing: ParkingLot | null = null;
  // The lone receive, which has no record: see `receive`.
  #lone: ((result: Received<T> | Promise<never>) => void) | null = null;
  #loneOwner: WaitOwner<T> | null = null;
  #isGranting = false;

  constructor(max: number, settings: ChannelOptions<T> | null) {
    this.max = max;
    this.free = max;
    this.settings = settings;
    this.values = new ValueQueue(max);
  }

  /** A number of slots for users. */
  shown(slots: number): number {
    return this.max === UNBOUNDED ? Number.POSITIVE_INFINITY : Math.max(0, slots);
  }

  // Sending

  /** Sends a value; there must be a free slot and an open sender. */
  offer(value: T): void {
    if (this.#lone !== null) {
      this.#settleLone({ done: false, value });
    } else {
      this.free--;
      this.put(value);
    }
  }

  /** Puts a value into a held slot. */
  put(value: T): void {
    if (this.#isAwaited()) {
      this.#handOver(value);
    } else if (this.state === 'ended') {
      this.release(1);
      this.#discard(value);
    } else {
      this.values.push(value);
      this.lookers?.wakeAll();
    }
  }

  /** Gives a value to the receiver that has waited longest. */
  #handOver(value: T): void {
    if (this.#lone !== null) this.#settleLone({ done: false, value });
    else this.receivers?.shift()?.deliver(value);
    this.release(1);
  }

  /** Holds slots, if so many are free. */
  hold(slots: number): boolean {
    if (slots > this.free) return false;
    this.free -= slots;
    return true;
  }

  /** Frees slots that hold nothing any more. */
  release(slots: number): void {
    this.free += slots;
    if (this.senders?.head && !this.#isGranting) this.#grant();
    if (this.free === this.max) this.checkEnd();
  }

  /** Queues a waiter for slots. */
  queueSender(waiter: SlotWaiter): void {
    this.senders ??= new WaiterList();
    this.senders.push(waiter);
    // A sender of several slots holds the free ones while it waits for the rest.
    if (this.free > 0) this.#grant();
  }

  /** Withdraws a waiting sender; its slots go to the next. @returns False when it was not waiting. */
  withdrawSender(waiter: SlotWaiter): boolean {
    if (!unlink(waiter)) return false;
    this.release(waiter.gathered());
    return true;
  }

  // Iterative and guarded: a granted sender may serve a waiting receiver, which frees its slot at once.
  #grant(): void {
    const senders = this.senders as WaiterList<SlotWaiter>;
    this.#isGranting = true;
    try {
      while (this.free > 0 && senders.head !== null) {
        const waiter = senders.head;
        const slots = Math.min(waiter.need, this.free);
        this.free -= slots;
        waiter.need -= slots;
        if (waiter.need > 0) break;
        senders.shift();
        waiter.deliver();
      }
    } finally {
      this.#isGranting = false;
    }
  }

  // Receiving

  /** Takes the oldest value; there must be one. */
  take(): T {
    const value = this.values.shift();
    this.release(1);
    return value;
  }

  /**
   * Moves up to `limit` values to the end of an array. When the array refuses one, it throws, and that value and those behind it stay.
   *
   * @returns The number of values moved.
   */
  takeInto(buffer: T[], limit: number): number {
    let taken = 0;
    for (; taken < limit && this.values.length > 0; taken++) {
      buffer.push(this.values.first);
      this.take();
    }
    return taken;
  }

  /**
   * Waits for one value. Without a signal and other waiting receivers, which is by far the most frequent wait, the promise's own function is the
   * record. Such a wait cannot be abandoned by itself, and is older than all in the list.
   */
  receive(signal: AbortSignal | undefined, owner: WaitOwner<T> | null): Promise<Received<T>> {
    if (signal !== undefined || this.#isAwaited()) {
      const waiter = new RecvWaiter<T>(owner);
      this.register(waiter);
      return waiter.until(signal);
    }
    spend();
    this.#loneOwner = owner;
    return new Promise<Received<T>>((resolve) => {
      this.#lone = resolve;
    });
  }

  #settleLone(result: Received<T> | Promise<never>): void {
    const resolve = this.#lone as (result: Received<T> | Promise<never>) => void;
    this.#lone = null;
    this.#loneOwner = null;
    settle(resolve, result);
  }

  #isAwaited(): boolean {
    return this.#lone !== null || Boolean(this.receivers?.head);
  }

  /** Queues a waiter for a value or the end. */
  queueLooker(waiter: Waiter<void>): void {
    this.#parked().push(waiter);
  }

  /** Ends the waits of one owner. */
  endReceiversOf(owner: WaitOwner<T>): void {
    if (this.#loneOwner === owner) this.#settleLone({ done: true, value: undefined });
    owner.waits?.forEach((waiter) => {
      unlink(waiter);
      waiter.end();
    });
  }

  // Closing

  /** Whether no sender, no permit and no waiting sender is left. */
  isSenderless(): boolean {
    return this.strong === 0 && this.free + this.values.length === this.max && !this.senders?.head;
  }

  /** Counts one sender less. */
  dropSender(): void {
    this.strong--;
    this.checkEnd();
  }

  /** Refuses new sends. Buffered values and those of held permits still come. */
  close(): void {
    if (this.state !== 'open') return;
    this.state = 'closing';
    let gathered = 0;
    this.senders?.drain((waiter) => {
      gathered += waiter.gathered();
      waiter.end();
    });
    // Only now: a slot that is free while senders wait would be granted to one of them.
    this.free += gathered;
    this.checkEnd();
    this.closing?.wakeAll();
  }

  /** Closes and ends: the receiver goes. Its values go to the hook, all of them whatever it throws; its first exception is thrown at last. */
  drop(): void {
    const left = this.values.clear();
    this.free += left.length;
    this.close();
    this.#end();
    let thrown: [unknown] | undefined;
    for (const value of left) {
      try {
        this.#discard(value);
      } catch (error) {
        thrown ??= [error];
      }
    }
    if (thrown !== undefined) throw thrown[0];
  }

  /** Ends the channel if no value can come any more. */
  checkEnd(): void {
    if (this.free === this.max && (this.state === 'closing' || this.strong === 0)) this.#end();
  }

  #end(): void {
    if (this.state === 'ended') return;
    this.state = 'ended';
    this.lookers?.wakeAll();
    const { failure } = this;
    // Resolving with a rejected promise rejects.
    if (this.#lone !== null) {
      this.#settleLone(failure === null ? { done: true, value: undefined } : refused(failure.reason));
    }
    this.receivers?.drain((waiter) => {
      if (failure === null) waiter.end();
      else waiter.fail(failure.reason);
    });
  }

  #discard(value: T): void {
    this.settings?.onUndelivered?.(value);
  }

  // The receiver as an arm of select

  poll(slot: Slot): Poll {
    if (this.values.length > 0) {
      slot.value = this.take();
      return READY;
    }
    if (this.state !== 'ended') return PENDING;
    if (this.failure === null) return ENDED;
    slot.value = this.failure.reason;
    return FAILED;
  }

  register(waiter: Waiter<T>): void {
    this.receivers ??= new WaiterList();
    this.receivers.push(waiter);
  }

  unregister(waiter: SelectWaiter): void {
    unlink(waiter);
  }

  isEnded(): boolean {
    return this.failure === null && this.state === 'ended';
  }

  endings(): ParkingLot[] {
    return [this.#parked()];
  }

  #parked(): ParkingLot {
    this.lookers ??= new ParkingLot();
    return this.lookers;
  }
}
