/**
 * How receivers that look before they wait do their waiting: watch, broadcast, JoinSet and the like. What they wait for lies in shared state, and a
 * wake-up says only that it is worth another look.
 *
 * Invariants:
 * - Nothing is taken on behalf of a waiter: its own look takes it, so a waiter that is withdrawn has taken nothing.
 * - A wake-up reaches every waiter that was there when it was given, and ends: one that finds nothing and parks again waits for the next.
 */
import { DONE, ready, rejected } from './budget.js';
import { PromiseWaiter } from './promise-waiter.js';
import {
  ENDED,
  FAILED,
  PENDING,
  type Poll,
  READY,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from './select/selectable.js';
import { unlink, Waiter, WaiterList } from './waiters.js';

/** What a look answers when there is nothing yet. */
export const NOTHING: unique symbol = Symbol('nothing yet');

/** Something that can be looked at, with a place to wait for a change. */
export interface Watchable<T> {
  /** Takes what is ready, or answers {@link NOTHING} and leaves no trace. What it throws rejects the wait. */
  look(): T | typeof NOTHING;
  readonly lot: ParkingLot;
  /** Whether a waiter that was woken looks a microtask later, at how things are by then. */
  readonly later?: boolean;
}

/** The waiters of one change, oldest first. To deliver is to wake. */
export class ParkingLot extends WaiterList<Waiter<void>> {
  #size = 0;

  override push(node: Waiter<void>): void {
    super.push(node);
    this.#size++;
  }

  override remove(node: Waiter<void>): boolean {
    const removed = super.remove(node);
    if (removed) this.#size--;
    return removed;
  }

  wakeAll(): void {
    // Counted, because a wake-up may park again, withdraw others, and wake everybody in its turn (a broadcast's `clone` is foreign code).
    for (let left = this.#size; left > 0; left--) this.shift()?.deliver();
  }
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
    let found: T | typeof NOTHING;
    try {
      found = this.#source.look();
    } catch (error) {
      this.#settled = true;
      this.fail(error);
      return;
    }
    if (found === NOTHING) {
      this.#source.lot.push(this);
      return;
    }
    this.#settled = true;
    this.resolve(found);
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
    found = source.look();
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
  readonly #later: boolean;

  /**
   * @param later Whether to look a microtask after the wake-up, so that what else happens in the same turn is seen too.
   */
  constructor(source: Watchable<IteratorResult<T, undefined>>, isEnded: () => boolean, later: boolean = false) {
    this.#source = source;
    this.#isEnded = isEnded;
    this.#later = later;
  }

  poll(slot: Slot): Poll {
    try {
      const found = this.#source.look();
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
    const node = waiter.link instanceof LookNode ? waiter.link : new LookNode(this, waiter, this.#later);
    waiter.link = node;
    node.waiting = true;
    this.park(node);
  }

  unregister(waiter: SelectWaiter): void {
    const node = waiter.link as LookNode;
    node.waiting = false;
    unlink(node);
  }

  /** @internal */
  park(node: Waiter<void>): void {
    this.#source.lot.push(node);
  }
}

/** A waiter of a select in a parking lot. */
class LookNode extends Waiter<void> implements Slot {
  readonly #source: LookSource<unknown>;
  readonly #waiter: SelectWaiter;
  readonly #later: boolean;
  value: unknown = undefined;
  waiting = false;

  constructor(source: LookSource<unknown>, waiter: SelectWaiter, later: boolean) {
    super();
    this.#source = source;
    this.#waiter = waiter;
    this.#later = later;
  }

  override deliver(): void {
    if (this.#later) void DONE.then(() => this.#look());
    else this.#look();
  }

  override end(): void {}
  override fail(): void {}

  #look(): void {
    // Withdrawn, or withdrawn and registered again, since the wake-up.
    if (!this.waiting || this.list !== null) return;
    const found = this.#source.poll(this);
    if (found === PENDING) {
      this.#source.park(this);
      return;
    }
    const { value } = this;
    this.value = undefined;
    this.waiting = false;
    if (found === READY) this.#waiter.deliver(value);
    else if (found === ENDED) this.#waiter.end();
    else this.#waiter.fail(value);
  }
}
