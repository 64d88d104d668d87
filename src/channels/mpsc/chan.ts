import { type Clock, requireFunction, requireOptions } from '../../core/index.js';
import { refused, settle, spend } from '../internal/budget.js';
import { requireClock } from '../internal/options.js';
import { type ParkingLot, unlink, type Waiter, WaiterList, type WaitNode } from '../internal/waiters.js';
import { ValueBlocks } from './queue.js';
import { type Received, RecvWaiter, type WaitOwner } from './waits.js';
import {
  ENDED,
  FAILED,
  PENDING,
  type Poll,
  READY,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from '../select/selectable.js';

/** What a channel takes beside its capacity. */
export interface ChannelOptions<T> {
  /**
   * Called once with each value that was accepted and can no longer be received: those that lie in the channel when its receiver is disposed of,
   * and those sent later on permits. For values that hold something to be released. A send that fails hands its value back instead.
   */
  readonly onUndelivered?: ((value: T) => void) | undefined;
  /** The clock of `sendTimeout`; the system's by default. */
  readonly clock?: Clock | undefined;
}

/**
 * Checks the options of a channel.
 *
 * @internal
 */
export function settingsOf<T>(action: string, options: ChannelOptions<T> | undefined): ChanSettings<T> | null {
  if (options === undefined) return null;
  const { onUndelivered, clock } = requireOptions(action, options, ['onUndelivered', 'clock']);
  if (onUndelivered !== undefined) requireFunction(action, 'onUndelivered', onUndelivered);
  if (clock !== undefined) requireClock(action, clock);
  return { onUndelivered, clock };
}

/**
 * The one core behind bounded and unbounded channels.
 *
 * Invariants:
 * - A slot is free, held (by a permit, or gathered by a sender that waits for several) or filled:
 *   `max - free` = held + `length`. An unbounded channel is one of 2^30 slots.
 * - A value that lies in the channel and a waiting receiver exclude each other; so do a free slot and a waiting sender: whatever makes room for
 *   the other side serves it before it returns.
 * - A value goes to the receiver that has waited longest, in the call that sends it: what comes first, a value or whatever else a receiver's caller
 *   waits for, does not depend on what the channel carried before.
 * - Slots go to waiting senders first come, first served; the oldest gathers all it needs before the next gets one.
 * - `closed` and `dropped` only go from false to true; `strong` leaves 0 only when a reservation outlives its sender and gets its owned
 *   permit. The channel has ended when nobody may send any more and every slot is free: no value, no permit, no waiting sender is left then.
 *   One whose receiver is gone has ended, whatever permits are held.
 */

/** The slots of an unbounded channel: the largest power of two that stays a small integer everywhere. */
export const UNBOUNDED: number = 2 ** 30;

/** One that waits for slots. */
export interface SlotWaiter extends WaitNode {
  /** How many it still needs. */
  need: number;
  /** How many it has already. */
  gathered(): number;
  /** Called when it has them all, out of the queue. */
  deliver(): void;
  /** Called instead when the channel closes. */
  end(): void;
}

/** What a channel was given beside its capacity. */
export interface ChanSettings<T> {
  readonly onUndelivered: ((value: T) => void) | undefined;
  readonly clock: Clock | undefined;
}

/** What senders see of a channel: values go in, and none comes out. */
export interface SendSide<in T>
  extends Pick<
    Chan<never>,
    | 'max'
    | 'settings'
    | 'free'
    | 'strong'
    | 'weak'
    | 'closed'
    | 'dropped'
    | 'failure'
    | 'senders'
    | 'closing'
    | 'shown'
    | 'release'
    | 'queueSender'
    | 'withdrawSender'
    | 'dropSender'
    | 'checkEnd'
  > {
  offer(value: T): void;
  put(value: T): void;
  discard(value: T): void;
}

export class Chan<T> extends ValueBlocks<T> implements SelectSource<T> {
  readonly settings: ChanSettings<T> | null;
  free: number;
  /** Open senders and owned permits. */
  strong = 1;
  weak = 0;
  /** The receiver takes no new sends. */
  closed = false;
  /** The receiver is gone. */
  dropped = false;
  failure: { readonly reason: unknown } | null = null;
  receivers: WaiterList<Waiter<T>> | null = null;
  /** Those who only want to know that there is something to be had. They are told when no receiver is left to be served. */
  lookers: WaiterList<Waiter<void>> | null = null;
  senders: WaiterList<SlotWaiter> | null = null;
  /** The waiters for the receiver to go: each sender has a part of its own. */
  closing: ParkingLot | null = null;
  #solo: ((result: Received<T> | Promise<never>) => void) | null = null;
  #soloOwner: WaitOwner<T> | null = null;
  #granting = false;

  constructor(max: number, settings: ChanSettings<T> | null) {
    super(max);
    this.free = max;
    this.settings = settings;
  }

  /** A number of slots as it is shown. */
  shown(slots: number): number {
    return this.max === UNBOUNDED ? Number.POSITIVE_INFINITY : Math.max(0, slots);
  }

  // Sending

  /** Sends a value for which a slot is free; there must be an open sender. */
  offer(value: T): void {
    if (this.#solo !== null) {
      this.#settleSolo({ done: false, value });
    } else {
      this.free--;
      this.put(value);
    }
  }

  /** Puts a value into a slot that is already held. */
  put(value: T): void {
    if (this.#isAwaited()) {
      this.#handOver(value);
    } else if (this.dropped) {
      this.release(1);
      this.discard(value);
    } else {
      this.push(value);
      this.#tellLookers();
    }
  }

  /** Gives a value to the one that has waited longest. */
  #handOver(value: T): void {
    if (this.#solo !== null) this.#settleSolo({ done: false, value });
    else this.receivers?.shift()?.deliver(value);
    this.release(1);
  }

  #tellLookers(): void {
    this.lookers?.drain((waiter) => waiter.deliver());
  }

  /** Gives slots back that hold nothing any more. */
  release(slots: number): void {
    this.free += slots;
    if (this.senders !== null && this.senders.head !== null && !this.#granting) this.#grant();
    if (this.free === this.max) this.checkEnd();
  }

  /** Queues one that waits for slots. */
  queueSender(waiter: SlotWaiter): void {
    this.senders ??= new WaiterList();
    this.senders.push(waiter);
    // A sender of several slots takes what is free while it waits for the rest.
    if (this.free > 0) this.#grant();
  }

  /** Takes a waiting sender out of the queue; what it gathered goes to the next. @returns False when it was not there. */
  withdrawSender(waiter: SlotWaiter): boolean {
    if (!unlink(waiter)) return false;
    this.release(waiter.gathered());
    return true;
  }

  // Iterative and guarded: a granted sender may serve a waiting receiver, which frees its slot at once.
  #grant(): void {
    const senders = this.senders as WaiterList<SlotWaiter>;
    this.#granting = true;
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
      this.#granting = false;
    }
  }

  // Receiving

  /** Takes the oldest value; there must be one. */
  take(): T {
    const value = this.shift();
    this.release(1);
    return value;
  }

  /** Takes up to `limit` values into an array of ours. @returns The array. */
  takeMany(values: T[], limit: number): T[] {
    for (let left = limit; left > 0 && this.length > 0; ) {
      const batch = Math.min(left, this.length);
      this.shiftInto(values, batch);
      left -= batch;
      // Served only now, as a batch: senders that wait refill what was taken.
      this.release(batch);
    }
    return values;
  }

  /**
   * Moves values that were taken into an array of the user's. When it refuses one, that one and those behind it are the channel's next values again,
   * beyond its capacity where their slots are filled by now.
   *
   * @returns How many.
   */
  moveInto(buffer: T[], values: readonly T[]): number {
    let moved = 0;
    try {
      for (; moved < values.length; moved++) buffer.push(values[moved] as T);
      return moved;
    } catch (error) {
      const left = values.slice(moved);
      this.free -= left.length;
      this.shiftInto(left, this.length);
      for (const value of left) this.put(value);
      throw error;
    }
  }

  /**
   * Waits for one value, without a record where nobody else waits and there is no signal: by far the most frequent wait there is. Such a wait
   * cannot be abandoned, and is older than all that are in the list.
   */
  park(signal: AbortSignal | undefined, owner: WaitOwner<T> | null): Promise<Received<T>> {
    if (signal !== undefined || this.#isAwaited()) {
      const waiter = new RecvWaiter<T>(owner);
      this.register(waiter);
      return waiter.until(signal);
    }
    spend();
    this.#soloOwner = owner;
    return new Promise<Received<T>>((resolve) => {
      this.#solo = resolve;
    });
  }

  #settleSolo(result: Received<T> | Promise<never>): void {
    const resolve = this.#solo as (result: Received<T> | Promise<never>) => void;
    this.#solo = null;
    this.#soloOwner = null;
    settle(resolve, result);
  }

  /** Queues one that waits for something to be had. */
  queueLooker(waiter: Waiter<void>): void {
    this.lookers ??= new WaiterList();
    this.lookers.push(waiter);
  }

  /** Whether no value will ever come again. */
  hasEnded(): boolean {
    return this.dropped || (this.free === this.max && (this.closed || this.strong === 0));
  }

  /** Whether nobody may send any more: no sender, no permit and no waiting sender is left. */
  isSenderless(): boolean {
    return this.strong === 0 && this.free + this.length === this.max && !this.senders?.head;
  }

  /** Ends those waits for a value that belong to one iterator. */
  endReceiversOf(owner: WaitOwner<T>): void {
    if (this.#soloOwner === owner) this.#settleSolo({ done: true, value: undefined });
    owner.waits?.forEach((waiter) => {
      unlink(waiter);
      waiter.end();
    });
  }

  /** Ends all waits if the channel has ended. */
  checkEnd(): void {
    if (!this.hasEnded()) return;
    this.#tellLookers();
    const failure = this.failure;
    // To resolve with what is rejected is to reject, and needs no function of its own.
    if (this.#solo !== null) {
      this.#settleSolo(failure === null ? { done: true, value: undefined } : refused(failure.reason));
    }
    this.receivers?.drain((waiter) => {
      if (failure === null) waiter.end();
      else waiter.fail(failure.reason);
    });
  }

  #isAwaited(): boolean {
    return this.#solo !== null || (this.receivers !== null && this.receivers.head !== null);
  }

  // Closing

  /** One sender less. */
  dropSender(): void {
    this.strong--;
    this.checkEnd();
  }

  /** The receiver takes no new sends; what is buffered or promised by a permit still comes. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
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

  /** The receiver goes: closes, and lets go of every value. */
  drop(): void {
    this.dropped = true;
    this.close();
    const left: T[] = [];
    this.shiftInto(left, this.length);
    this.clear();
    this.free += left.length;
    this.checkEnd();
    // Every value is handed over, whatever the hook throws; what it threw first is thrown in the end.
    let thrown: [unknown] | undefined;
    for (const value of left) {
      try {
        this.discard(value);
      } catch (error) {
        thrown ??= [error];
      }
    }
    if (thrown !== undefined) throw thrown[0];
  }

  /** Hands a value to the hook, if there is one. */
  discard(value: T): void {
    this.settings?.onUndelivered?.(value);
  }

  // As an arm of select: the receiver's side

  poll(slot: Slot): Poll {
    if (this.length > 0) {
      slot.value = this.take();
      return READY;
    }
    if (!this.hasEnded()) return PENDING;
    if (this.failure === null) return ENDED;
    slot.value = this.failure.reason;
    return FAILED;
  }

  /** Queues one that waits for a value. */
  register(waiter: Waiter<T>): void {
    this.receivers ??= new WaiterList();
    this.receivers.push(waiter);
  }

  unregister(waiter: SelectWaiter): void {
    unlink(waiter);
  }

  isEnded(): boolean {
    return this.failure === null && this.hasEnded();
  }

  endings(): WaiterList<Waiter<void>>[] {
    this.lookers ??= new WaiterList();
    return [this.lookers];
  }
}
