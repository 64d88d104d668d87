/**
 * Waits that look before they wait: watch, broadcast, JoinSet and the like. What they wait for is in shared state, and a wake-up says only that it
 * is worth another look.
 *
 * Invariants:
 * - Nothing is taken on behalf of a waiter: its own look takes it, so that a withdrawn waiter has taken nothing.
 * - A look takes in one step: it runs no foreign code and wakes no waiter before it returns, so that two arms of one select never look at the same
 *   time. Foreign code that makes the value (`finish`) runs when the wait is over.
 * - A wake-up reaches every waiter that is in the lot, and ends: a waiter that finds nothing and parks again waits for the next one.
 */
import { ENDED, FAILED, PENDING, type Poll, READY } from '../select/selectable.js';
import type { SelectSource, SelectWaiter, Slot } from '../select/selectable.js';
import { DONE, ready, rejected } from './budget.js';
import { ParkingLot, PromiseWaiter, unlink, Waiter } from './waiters.js';

/** The result of a look that found nothing yet. */
export const NOTHING: unique symbol = Symbol('nothing yet');

/** A state that can be looked at, with a place to wait for its change. */
export interface Watchable<T> {
  /** Takes a value, or answers {@link NOTHING} and leaves no trace. An exception rejects the wait. */
  look(): T | typeof NOTHING;
  readonly lot: ParkingLot;
  /** Whether a woken waiter looks a microtask later, at the state by then. */
  readonly later?: boolean | undefined;
  /** Makes the value for the caller, at the last moment. An exception rejects the wait. */
  finish?(found: T): T;
  /** Puts back a value that was taken and not seen. */
  undo?(): void;
}

/** Wakes all a microtask later: for a change that is found in the middle of a look, such as the end. */
export function wakeSoon(lot: ParkingLot): void {
  if (lot.head !== null) void DONE.then(() => lot.wakeAll());
}

/** Looks, and finishes the value. */
export function lookAt<T>(source: Watchable<T>): T | typeof NOTHING {
  const found = source.look();
  return found === NOTHING || source.finish === undefined ? found : source.finish(found);
}

/**
 * Waits until a look finds a value.
 *
 * **Cancel safety:** that of the look: an aborted wait has taken nothing.
 */
export function park<T>(source: Watchable<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal?.aborted) return rejected(signal.reason);
  let found: T | typeof NOTHING;
  try {
    found = lookAt(source);
  } catch (error) {
    return rejected(error);
  }
  return found === NOTHING ? new LookWaiter(source).until(signal) : ready(found);
}

class LookWaiter<T> extends PromiseWaiter<void, T> {
  readonly #source: Watchable<T>;
  #isSettled = false;

  constructor(source: Watchable<T>) {
    super();
    this.#source = source;
    source.lot.push(this);
  }

  override deliver(): void {
    if (this.#source.later) void DONE.then(() => this.#look());
    else this.#look();
  }

  // Between its wake-up and its look it is in no list, and waits all the same.
  protected override withdraw(): boolean {
    const isWaiting = !this.#isSettled;
    this.#isSettled = true;
    unlink(this);
    return isWaiting;
  }

  #look(): void {
    if (this.#isSettled) return;
    const source = this.#source;
    try {
      const found = source.look();
      if (found === NOTHING) {
        source.lot.push(this);
        return;
      }
      // Before the value is finished: from here on an abort would lose it.
      this.#isSettled = true;
      this.resolve(source.finish === undefined ? found : source.finish(found));
    } catch (error) {
      this.#isSettled = true;
      this.fail(error);
    }
  }
}

/** A watchable as an arm of `select`: a result that is done is the end, an exception a failure. */
export class LookSource<T> implements SelectSource<T> {
  readonly #source: Watchable<IteratorResult<T, undefined>>;
  readonly #isEnded: () => boolean;

  constructor(source: Watchable<IteratorResult<T, undefined>>, isEnded: () => boolean) {
    this.#source = source;
    this.#isEnded = isEnded;
  }

  poll(slot: Slot): Poll {
    try {
      const found = lookAt(this.#source);
      if (found === NOTHING) return PENDING;
      if (found.done) return ENDED;
      slot.value = found.value;
      return READY;
    } catch (error) {
      slot.value = error;
      return FAILED;
    }
  }

  isEnded(): boolean {
    return this.#isEnded();
  }

  endings(): ParkingLot[] {
    return [this.#source.lot];
  }

  register(waiter: SelectWaiter): void {
    const node = waiter.link instanceof LookNode ? waiter.link : new LookNode(this.#source, waiter);
    waiter.link = node;
    this.#source.lot.push(node);
  }

  unregister(waiter: SelectWaiter): void {
    unlink(waiter.link as LookNode<T>);
  }
}

/** The waiter of a select in a parking lot. */
class LookNode<T> extends Waiter<void> {
  readonly #source: Watchable<IteratorResult<T, undefined>>;
  readonly #waiter: SelectWaiter;

  constructor(source: Watchable<IteratorResult<T, undefined>>, waiter: SelectWaiter) {
    super();
    this.#source = source;
    this.#waiter = waiter;
  }

  override deliver(): void {
    const source = this.#source;
    let found: IteratorResult<T, undefined> | typeof NOTHING;
    try {
      found = source.look();
    } catch (error) {
      this.#waiter.fail(error);
      return;
    }
    if (found === NOTHING) source.lot.push(this);
    else if (found.done) this.#waiter.end();
    else if (source.finish === undefined) this.#waiter.deliver(found.value);
    else {
      const taken = found;
      this.#waiter.deliverLate(() => source.finish?.(taken).value, source.undo && (() => source.undo?.()));
    }
  }
}

/**
 * An async iterator that waits in a lot. Leaving it early ends the iterator alone: the source stays open, and a pending `next()` settles without
 * having taken anything.
 */
export abstract class LeavableIterator<T> implements AsyncIterableIterator<T, undefined, undefined>, AsyncDisposable {
  /** @internal */
  readonly lot: ParkingLot;
  /** @internal */
  protected isLeft = false;

  constructor(whole: ParkingLot) {
    this.lot = new ParkingLot(whole);
  }

  abstract next(): Promise<IteratorResult<T, undefined>>;

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.isLeft = true;
    this.lot.wakeAll();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

/** An iterator over a watchable. */
export class LookIterator<T> extends LeavableIterator<T> {
  readonly #source: Watchable<IteratorResult<T, undefined>>;

  constructor(source: Watchable<IteratorResult<T, undefined>>) {
    super(source.lot);
    this.#source = source;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return park<IteratorResult<T, undefined>>(this, undefined);
  }

  /** @internal */
  look(): IteratorResult<T, undefined> | typeof NOTHING {
    return this.isLeft ? { done: true, value: undefined } : this.#source.look();
  }

  /** @internal */
  finish(found: IteratorResult<T, undefined>): IteratorResult<T, undefined> {
    return this.#source.finish === undefined || found.done ? found : this.#source.finish(found);
  }
}
