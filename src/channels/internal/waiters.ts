import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { refused, settle, spend } from './budget.js';

/**
 * Those who wait, and the lists they wait in.
 *
 * Invariants:
 * - A waiter is in at most one list at a time; `list` says which. Taking it out is O(1), wherever it stands, and may be repeated.
 * - A waiter is taken out of its list before it is told anything, and it is told one thing only: `deliver`, `end` or `fail`.
 * - Telling a waiter never throws, and never runs foreign code that could reach the list it was taken from in the middle of a change.
 */
/** What stands in a {@link WaiterList}. */
export interface WaitNode {
  previous: WaitNode | null;
  next: WaitNode | null;
  list: WaiterList<WaitNode> | null;
}

/** One that waits for a value of type `T`, for the end of what it waits at, or for a failure. */
export abstract class Waiter<T> implements WaitNode {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;

  /** Hands over what was waited for. */
  abstract deliver(value: T): void;
  /** Says that nothing will ever come. */
  abstract end(): void;
  /** Says that what was waited at has failed. */
  abstract fail(reason: unknown): void;
  /** What it waits for may be a signal. */
  onAbort(reason: unknown): void {
    this.deliver(reason as T);
  }
}

/** A queue of waiters, oldest first: an intrusive doubly linked list. */
export class WaiterList<N extends WaitNode> {
  /** The oldest. */
  head: N | null = null;
  tail: N | null = null;

  /** Adds a waiter that is in no list, as the youngest. */
  push(node: N): void {
    const tail = this.tail;
    node.list = this as unknown as WaiterList<WaitNode>;
    node.previous = tail;
    if (tail === null) this.head = node;
    else tail.next = node;
    this.tail = node;
  }

  /** Takes out the oldest. */
  shift(): N | null {
    const node = this.head;
    if (node !== null) this.remove(node);
    return node;
  }

  /** Takes out a waiter of this list; {@link unlink} is for one that may be in any list or in none. */
  remove(node: N): void {
    const { previous, next } = node as { previous: N | null; next: N | null };
    if (previous === null) this.head = next;
    else previous.next = next;
    if (next === null) this.tail = previous;
    else next.previous = previous;
    node.previous = null;
    node.next = null;
    node.list = null;
  }

  /**
   * Takes out every waiter that is there now, oldest first, and calls back for each. One that joins on the way stays for the next time, one that
   * is withdrawn on the way is not told: they stand in a list of their own meanwhile.
   */
  drain(tell: (node: N) => void): void {
    if (this.head === null) return;
    const told = new WaiterList<N>();
    for (let node = this.shift(); node !== null; node = this.shift()) told.push(node);
    for (let node = told.shift(); node !== null; node = told.shift()) tell(node);
  }
}

/** Takes a waiter out of the list it is in. @returns False when it is in none. */
export function unlink(node: WaitNode): boolean {
  const { list } = node;
  list?.remove(node);
  return list !== null;
}

/** One that can be woken. */
export interface Wakeable extends WaitNode {
  deliver(): void;
}

/**
 * The waiters of one change, oldest first. To deliver is to wake.
 *
 * A lot may be part of another, as that of one receiver is of its channel's: it stands in it while it has waiters, and is woken with it. To wake
 * the part costs nothing for the waiters elsewhere in the whole.
 */
export class ParkingLot extends WaiterList<Wakeable> implements Wakeable {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  readonly #whole: ParkingLot | null;

  constructor(whole: ParkingLot | null = null) {
    super();
    this.#whole = whole;
  }

  override push(node: Wakeable): void {
    if (this.head === null) this.#whole?.push(this);
    super.push(node);
  }

  override remove(node: Wakeable): void {
    super.remove(node);
    if (this.head === null) unlink(this);
  }

  wakeAll(): void {
    this.drain((waiter) => waiter.deliver());
  }

  deliver(): void {
    this.wakeAll();
  }
}

/**
 * The waiter behind every wait that is a promise.
 *
 * Invariants:
 * - It settles once: by what it waited for, or by its signal. Whichever comes first takes it out of the other's list.
 * - A withdrawn waiter has taken nothing.
 */

/**
 * Waits for a `T` and promises an `R`. It is a {@link Waiter} without being below it: one constructor less for what is made for each message.
 */
export abstract class PromiseWaiter<T, R> implements Waiter<T> {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  readonly promise: Promise<R>;
  #resolve!: (result: R | Promise<never>) => void;
  #signal: AbortSignal | null = null;

  constructor() {
    // Parked waits count as well: two tasks that wake each other would otherwise keep everything else waiting.
    spend();
    this.promise = new Promise<R>((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The promise, whose wait, if it still waits, is abandoned when the signal fires. It must not have fired yet. */
  until(signal: AbortSignal | undefined): Promise<R> {
    if (signal !== undefined && this.list !== null) {
      try {
        addAbortListener(signal, this);
        this.#signal = signal;
      } catch (error) {
        this.onAbort(error);
      }
    }
    return this.promise;
  }

  abstract deliver(value: T): void;
  abstract end(): void;

  // To resolve with what is rejected is to reject, and needs no function of its own.
  fail(reason: unknown): void {
    this.resolve(refused(reason));
  }

  /** Abandons the wait, if it still waits. */
  onAbort(reason: unknown): void {
    if (this.withdraw()) this.fail(reason);
  }

  /** Takes the waiter out of where it waits. @returns False when it was not waiting any more. */
  protected withdraw(): boolean {
    return unlink(this);
  }

  protected resolve(result: R | Promise<never>): void {
    if (this.#signal !== null) removeAbortListener(this.#signal, this);
    this.#signal = null;
    settle(this.#resolve, result);
  }
}

/** Waits for something whose value is the promise's own. What ends without a value leaves it `undefined`. */
export class ValueWaiter<T> extends PromiseWaiter<T, T> {
  override deliver(value: T): void {
    this.resolve(value);
  }

  override end(): void {
    this.resolve(undefined as T);
  }
}
