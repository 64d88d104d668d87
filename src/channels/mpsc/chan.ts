/**
 * The one core behind bounded and unbounded channels.
 *
 * Invariants:
 * - A slot is free, held (by a permit, or gathered by a sender that waits for several) or filled:
 *   `max - free` = held + `length`. An unbounded channel is one of 2^30 slots.
 * - A value in the ring and a waiting receiver exclude each other, and so do a free slot and a waiting sender: whatever makes room for the
 *   other side serves it before it returns.
 * - Slots go to waiting senders first come, first served; the oldest gathers all it needs before the next gets one.
 * - `closed` and `dropped` only go from false to true; `strong` leaves 0 only when a reservation outlives its sender and gets its owned
 *   permit. The channel has ended when nobody may send any more and every slot is free: no value, no permit, no waiting sender is left then.
 *   One whose receiver is gone has ended, whatever permits are held.
 */
import type { Clock } from '../../core/index.js';
import { settle, spend } from '../budget.js';
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
import { type Waiter, WaiterList } from '../waiters.js';
import { type Received, RecvWaiter } from './recv-waiter.js';

/** The slots of an unbounded channel: the largest power of two that stays a small integer everywhere. */
export const UNBOUNDED: number = 2 ** 30;

/** One that waits for slots. */
export interface SlotWaiter extends Waiter<never> {
  /** How many it wants. */
  readonly wanted: number;
  /** How many of them it still needs. */
  need: number;
  /** Called when it has them all, out of the queue. `end()` is called instead when the channel closes. */
  granted(): void;
}

/** What a channel was given beside its capacity. */
export interface ChanSettings<T> {
  readonly onUndelivered: ((value: T) => void) | undefined;
  readonly clock: Clock | undefined;
}

type Executor<R> = (resolve: (result: R) => void, reject: (reason: unknown) => void) => void;

const FIRST_SIZE = 8;
const KEPT_SIZE = 1024;

let parking: Chan<never> | null = null;
let captureSolo: (resolve: (result: never) => void, reject: (reason: unknown) => void) => void;

export class Chan<T> implements SelectSource<T> {
  readonly max: number;
  readonly settings: ChanSettings<T> | null;
  free: number;
  length = 0;
  /** Open senders and owned permits. */
  strong = 1;
  weak = 0;
  /** The receiver takes no new sends. */
  closed = false;
  /** The receiver is gone. */
  dropped = false;
  failure: { readonly reason: unknown } | null = null;
  receivers: WaiterList<Waiter<T>> | null = null;
  senders: WaiterList<SlotWaiter> | null = null;
  closing: WaiterList<Waiter<void>> | null = null;
  #solo: ((result: Received<T>) => void) | null = null;
  #soloReject: ((reason: unknown) => void) | null = null;
  #soloOwner: object | null = null;
  #items: (T | undefined)[] | null = null;
  #head = 0;
  #granting = false;

  constructor(max: number, settings: ChanSettings<T> | null) {
    this.max = max;
    this.free = max;
    this.settings = settings;
  }

  get isUnbounded(): boolean {
    return this.max === UNBOUNDED;
  }

  // Sending

  /** Whether a slot can be had at once. */
  hasRoom(): boolean {
    return this.free > 0 && !this.closed;
  }

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
    if (this.#solo !== null) {
      this.#settleSolo({ done: false, value });
      this.release(1);
      return;
    }
    const waiter = this.receivers === null ? null : this.receivers.shift();
    if (waiter !== null) {
      waiter.deliver(value);
      this.release(1);
    } else if (this.dropped) {
      this.release(1);
      this.discard(value);
    } else {
      this.#enqueue(value);
    }
  }

  /** Gives slots back that hold nothing any more. */
  release(slots: number): void {
    this.free += slots;
    if (this.senders !== null && this.senders.head !== null && !this.#granting) this.#grant();
    if (this.free === this.max) this.#checkEnd();
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
    if (this.senders === null || !this.senders.remove(waiter)) return false;
    if (waiter.need < waiter.wanted) this.release(waiter.wanted - waiter.need);
    return true;
  }

  // Iterative and guarded: a granted sender may serve a waiting receiver, which frees its slot at once.
  #grant(): void {
    const senders = this.senders as WaiterList<SlotWaiter>;
    this.#granting = true;
    while (this.free > 0) {
      const waiter = senders.head;
      if (waiter === null) break;
      if (waiter.need > this.free) {
        waiter.need -= this.free;
        this.free = 0;
        break;
      }
      this.free -= waiter.need;
      waiter.need = 0;
      senders.shift();
      waiter.granted();
    }
    this.#granting = false;
  }

  // Receiving

  /** Takes the oldest value; there must be one. */
  take(): T {
    const value = this.#dequeue();
    this.release(1);
    return value;
  }

  /** Takes up to `limit` values into a buffer. @returns How many. */
  takeMany(buffer: T[], limit: number): number {
    let taken = 0;
    while (taken < limit && this.length > 0) {
      const batch = Math.min(limit - taken, this.length);
      for (let at = 0; at < batch; at++) buffer.push(this.#dequeue());
      taken += batch;
      // Served only now, as a batch: senders that wait refill what was taken.
      this.release(batch);
    }
    return taken;
  }

  /**
   * Waits for one value, without a record where nobody else waits: by far the most frequent wait there is. Such a wait cannot be abandoned, and is
   * older than all that are in the list.
   */
  park(owner: object | null): Promise<Received<T>> {
    if (this.#isAwaited()) {
      const waiter = new RecvWaiter<T>(owner);
      this.queueReceiver(waiter);
      return waiter.promise;
    }
    spend();
    parking = this as unknown as Chan<never>;
    const promise = new Promise<Received<T>>(captureSolo as unknown as Executor<Received<T>>);
    parking = null;
    this.#soloOwner = owner;
    return promise;
  }

  #settleSolo(result: Received<T>): void {
    const resolve = this.#solo as (result: Received<T>) => void;
    this.#solo = null;
    this.#soloReject = null;
    this.#soloOwner = null;
    settle(resolve, result);
  }

  /** Queues one that waits for a value. */
  queueReceiver(waiter: Waiter<T>): void {
    this.receivers ??= new WaiterList();
    this.receivers.push(waiter);
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
  endReceiversOf(owner: object): void {
    if (this.#soloOwner === owner) this.#settleSolo({ done: true, value: undefined });
    let waiter = this.receivers?.head ?? null;
    while (waiter !== null) {
      const next = waiter.next as Waiter<T> | null;
      if ((waiter as { owner?: object | null }).owner === owner) {
        this.receivers?.remove(waiter);
        waiter.end();
      }
      waiter = next;
    }
  }

  #checkEnd(): void {
    if (!this.#isAwaited() || !this.hasEnded()) return;
    const failure = this.failure;
    if (this.#solo !== null) {
      if (failure === null) {
        this.#settleSolo({ done: true, value: undefined });
      } else {
        const reject = this.#soloReject as (reason: unknown) => void;
        this.#solo = null;
        this.#soloReject = null;
        this.#soloOwner = null;
        settle(reject, failure.reason);
      }
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
    if (this.strong === 0 && this.free === this.max) this.#checkEnd();
  }

  /** The receiver takes no new sends; what is buffered or promised by a permit still comes. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.senders !== null) {
      let gathered = 0;
      this.senders.drain((waiter) => {
        gathered += waiter.wanted - waiter.need;
        waiter.end();
      });
      if (gathered > 0) this.free += gathered;
    }
    if (this.free === this.max) this.#checkEnd();
    this.closing?.drain((waiter) => waiter.deliver());
  }

  /** The receiver goes: closes, and lets go of every value. */
  drop(): void {
    if (this.dropped) return;
    this.dropped = true;
    this.close();
    const left: T[] = [];
    while (this.length > 0) left.push(this.#dequeue());
    this.#items = null;
    this.#head = 0;
    this.free += left.length;
    if (this.#solo !== null) this.#settleSolo({ done: true, value: undefined });
    this.receivers?.drain((waiter) => waiter.end());
    this.#discardAll(left);
  }

  /** Hands a value to the hook, if there is one. */
  discard(value: T): void {
    this.settings?.onUndelivered?.(value);
  }

  // Every value is handed over, whatever the hook throws; what it threw first is thrown in the end.
  #discardAll(values: readonly T[]): void {
    if (this.settings?.onUndelivered === undefined) return;
    let failure: { readonly error: unknown } | undefined;
    for (const value of values) {
      try {
        this.discard(value);
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  static {
    // One executor for all channels: a closure less for each wait.
    captureSolo = (resolve, reject) => {
      const chan = parking as Chan<never>;
      chan.#solo = resolve as (result: Received<never>) => void;
      chan.#soloReject = reject;
    };
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

  register(waiter: SelectWaiter): void {
    this.queueReceiver(waiter);
  }

  unregister(waiter: SelectWaiter): void {
    this.receivers?.remove(waiter);
  }

  isEnded(): boolean {
    return this.failure === null && this.hasEnded();
  }

  // The ring: a circular buffer of a power of two, built when first needed and let go when it was large and is empty

  #enqueue(value: T): void {
    let items = this.#items;
    if (items === null || this.length === items.length) items = this.#grow(items);
    items[(this.#head + this.length) & (items.length - 1)] = value;
    this.length++;
  }

  #dequeue(): T {
    const items = this.#items as (T | undefined)[];
    const head = this.#head;
    const value = items[head] as T;
    items[head] = undefined;
    this.#head = (head + 1) & (items.length - 1);
    if (--this.length === 0 && items.length > KEPT_SIZE) {
      this.#items = null;
      this.#head = 0;
    }
    return value;
  }

  #grow(items: (T | undefined)[] | null): (T | undefined)[] {
    const size = items === null ? FIRST_SIZE : items.length * 2;
    const grown: (T | undefined)[] = new Array<T | undefined>(size).fill(undefined);
    if (items !== null) {
      for (let at = 0; at < this.length; at++) grown[at] = items[(this.#head + at) & (items.length - 1)];
    }
    this.#items = grown;
    this.#head = 0;
    return grown;
  }
}
