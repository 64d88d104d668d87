/**
 * Waiters and the lists they wait in.
 *
 * Invariants:
 * - A waiter is in at most one list; `list` says which. Removal is O(1) at any position, and may be repeated.
 * - A waiter leaves its list before it is told anything, and it is told one thing: `deliver`, `end` or `fail`.
 * - Telling a waiter never throws, and runs no foreign code that could reach the list in the middle of a change.
 * - A promise settles once: by what it waits for or by its signal, and the one withdraws it from the other. A withdrawn waiter has taken nothing.
 */
import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { refused, settle, spend } from './budget.js';

/** A node of a {@link WaiterList}. */
export interface WaitNode {
  previous: WaitNode | null;
  next: WaitNode | null;
  list: WaiterList<WaitNode> | null;
}

/** Waits for a value of type `T`, for the end of its source, or for a failure. */
export abstract class Waiter<T> implements WaitNode {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;

  /** Hands over the value. */
  abstract deliver(value: T): void;
  /** Says that no value will ever come. */
  end(): void {}
  /** Says that the source has failed. */
  fail(_reason: unknown): void {}
  /** Delivers the reason of a signal: a signal may be the source. */
  onAbort(reason: unknown): void {
    this.deliver(reason as T);
  }
}

/** Calls back with the value. */
export class CallbackWaiter<T> extends Waiter<T> {
  readonly #callback: (value: T) => void;

  constructor(callback: (value: T) => void) {
    super();
    this.#callback = callback;
  }

  override deliver(value: T): void {
    this.#callback(value);
  }
}

/** A queue of waiters, oldest first: an intrusive doubly linked list. */
export class WaiterList<N extends WaitNode> {
  /** The oldest waiter. */
  head: N | null = null;
  tail: N | null = null;

  /** Appends a waiter that is in no list. */
  push(node: N): void {
    const tail = this.tail;
    node.list = this as unknown as WaiterList<WaitNode>;
    node.previous = tail;
    if (tail === null) this.head = node;
    else tail.next = node;
    this.tail = node;
  }

  /** Removes the oldest waiter. */
  shift(): N | null {
    const node = this.head;
    if (node !== null) this.remove(node);
    return node;
  }

  /** Removes a waiter of this list; see {@link unlink} for a waiter of any list. */
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
   * Removes every waiter that is in the list now, oldest first, and calls back for each. They stand in a list of their own meanwhile: a waiter
   * that joins on the way is not called, and one that is withdrawn on the way neither.
   */
  drain(tell: (node: N) => void): void {
    if (this.head === null) return;
    const told = new WaiterList<N>();
    for (let node = this.shift(); node !== null; node = this.shift()) told.push(node);
    for (let node = told.shift(); node !== null; node = told.shift()) tell(node);
  }
}

/** Removes a waiter from the list it is in. @returns False when it is in none. */
export function unlink(node: WaitNode): boolean {
  const { list } = node;
  list?.remove(node);
  return list !== null;
}

/** A node that can be woken. */
export interface Wakeable extends WaitNode {
  deliver(): void;
}

/**
 * The waiters for one change, oldest first; to deliver is to wake. The lot of one receiver may be part of its channel's: while it has waiters it
 * stands in the whole and is woken with it, and waking the part costs nothing for the waiters elsewhere.
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
 * Waits for a `T` and promises an `R`: the waiter behind every wait that is a promise. It implements {@link Waiter} and does not extend it, which
 * saves a constructor per message.
 */
export abstract class PromiseWaiter<T, R> implements Waiter<T> {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  readonly promise: Promise<R>;
  #resolve!: (result: R | Promise<never>) => void;
  #signal: AbortSignal | null = null;

  constructor() {
    // A wait that is not ready costs a unit too: two tasks that wake each other would otherwise starve timers and I/O.
    spend();
    this.promise = new Promise<R>((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Abandons the wait when the signal fires. @returns The promise. @param signal Must not have fired yet. */
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

  end(): void {}

  // Resolving with a rejected promise rejects, so that no second function is kept for each wait.
  fail(reason: unknown): void {
    this.resolve(refused(reason));
  }

  /** Abandons the wait, unless it is over. */
  onAbort(reason: unknown): void {
    if (this.withdraw()) this.fail(reason);
  }

  /** Removes the waiter from its queue. @returns False when it was in none. */
  protected withdraw(): boolean {
    return unlink(this);
  }

  protected resolve(result: R | Promise<never>): void {
    if (this.#signal !== null) removeAbortListener(this.#signal, this);
    this.#signal = null;
    settle(this.#resolve, result);
  }
}

/** Promises the value itself; `undefined` at the end of the source. */
export class ValueWaiter<T> extends PromiseWaiter<T, T> {
  override deliver(value: T): void {
    this.resolve(value);
  }

  override end(): void {
    this.resolve(undefined as T);
  }
}
