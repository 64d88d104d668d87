/**
 * How receivers that look before they wait do their waiting: watch, broadcast, JoinSet and the like. What they wait for lies in shared state, and a
 * wake-up says only that it is worth another look.
 *
 * Invariants:
 * - Nothing is taken on behalf of a waiter: its own look takes it, so a waiter that is withdrawn has taken nothing.
 * - A look takes in one step: it runs no foreign code and wakes no waiter before it returns, so that two arms of one select never look at the same
 *   time. What foreign code makes of a value (`finish`) is made when the wait is over.
 * - A wake-up reaches every waiter that was there when it was given, and ends: one that finds nothing and parks again waits for the next.
 */
import { DONE, ready, rejected } from './budget.js';
import { PromiseWaiter, ParkingLot, unlink, Waiter } from './waiters.js';
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

export { ParkingLot };

/** What a look answers when there is nothing yet. */
export const NOTHING: unique symbol = Symbol('nothing yet');

/** Something that can be looked at, with a place to wait for a change. */
export interface Watchable<T> {
  /** Takes what is ready, or answers {@link NOTHING} and leaves no trace. What it throws rejects the wait. */
  look(): T | typeof NOTHING;
  readonly lot: ParkingLot;
  /** Whether a waiter that was woken looks a microtask later, at how things are by then. */
  readonly later?: boolean | undefined;
  /** What becomes of what a look has taken, as late as can be. What it throws rejects the wait. */
  finish?(found: T): T;
  /** Puts back what a look has taken and no waiter has seen. */
  undo?(): void;
}

/** Wakes all a microtask later: for who finds in the middle of a look that others can look for something as well, such as the end. */
export function wakeSoon(lot: ParkingLot): void {
  if (lot.head !== null) void DONE.then(() => lot.wakeAll());
}

/** Looks, and finishes what is found. */
export function lookAt<T>(source: Watchable<T>): T | typeof NOTHING {
  const found = source.look();
  return found === NOTHING || source.finish === undefined ? found : source.finish(found);
}

class LookWaiter<T> extends PromiseWaiter<void, T> {
  readonly #source: Watchable<T>;
  #settled = false;

  constructor(source: Watchable<T>) {
    super();
    this.#source = source;
    source.lot.push(this);
  }

  override deliver(): void {
    if (this.#source.later) void DONE.then(() => this.#look());
    else this.#look();
  }

  override end(): void {}

  // Between its wake-up and its look it is in no list, and waits all the same.
  protected override withdraw(): boolean {
    const waiting = !this.#settled;
    this.#settled = true;
    unlink(this);
    return waiting;
  }

  #look(): void {
    if (this.#settled) return;
    const source = this.#source;
    try {
      const found = source.look();
      if (found === NOTHING) {
        source.lot.push(this);
        return;
      }
      // Before the value is finished: by now an abort would lose it.
      this.#settled = true;
      this.resolve(source.finish === undefined ? found : source.finish(found));
    } catch (error) {
      this.#settled = true;
      this.fail(error);
    }
  }
}

/**
 * Waits until a look finds something.
 *
 * **Cancel safety:** as the look is: an aborted wait has taken nothing.
 */
export function park<T>(source: Watchable<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal?.aborted) return rejected(signal.reason);
  let found: T | typeof NOTHING;
  try {
    found = lookAt(source);
  } catch (error) {
    return rejected(error);
  }
  if (found !== NOTHING) return ready(found);
  const waiter = new LookWaiter(source);
  return waiter.until(signal);
}

/** Lets anything that can be looked at be an arm of `select`: a result that is done is the end, a look that throws is a failure. */
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

/** A waiter of a select in a parking lot. */
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

  override end(): void {}
  override fail(): void {}
}

/**
 * An async iterator over something that can be looked at. Leaving it early ends the iterator alone: the source stays open, and a `next()` that is
 * pending then settles without having taken anything.
 */
export class LookIterator<T>
  implements AsyncIterableIterator<T, undefined, undefined>, AsyncDisposable, Watchable<IteratorResult<T, undefined>>
{
  readonly #source: Watchable<IteratorResult<T, undefined>>;
  /** @internal */
  readonly lot: ParkingLot;
  #ended = false;

  constructor(source: Watchable<IteratorResult<T, undefined>>) {
    this.#source = source;
    this.lot = new ParkingLot(source.lot);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return park<IteratorResult<T, undefined>>(this, undefined);
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#ended = true;
    this.lot.wakeAll();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** @internal */
  look(): IteratorResult<T, undefined> | typeof NOTHING {
    return this.#ended ? { done: true, value: undefined } : this.#source.look();
  }

  /** @internal */
  finish(found: IteratorResult<T, undefined>): IteratorResult<T, undefined> {
    return this.#source.finish === undefined || found.done ? found : this.#source.finish(found);
  }
}
