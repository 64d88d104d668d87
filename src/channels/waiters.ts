/**
 * Those who wait, and the lists they wait in.
 *
 * Invariants:
 * - A waiter is in at most one list at a time; `list` says which. Taking it out is O(1), wherever it stands, and may be repeated.
 * - A waiter is taken out of its list before it is told anything, and it is told one thing only: `deliver`, `end` or `fail`.
 * - Telling a waiter never runs foreign code at once: it settles promises, whose reactions run later.
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

  /** Takes out a waiter. @returns False when it is not in this list. */
  remove(node: N): boolean {
    if (node.list !== (this as unknown as WaiterList<WaitNode>)) return false;
    const { previous, next } = node as { previous: N | null; next: N | null };
    if (previous === null) this.head = next;
    else previous.next = next;
    if (next === null) this.tail = previous;
    else next.previous = previous;
    node.previous = null;
    node.next = null;
    node.list = null;
    return true;
  }

  /**
   * Takes out every waiter that is there now, oldest first, and calls back for each. One that joins on the way stays for the next time.
   */
  drain(tell: (node: N) => void): void {
    const last = this.tail;
    let node: N | null;
    do {
      node = this.shift();
      if (node !== null) tell(node);
    } while (node !== last && node !== null);
  }
}

/** Takes a waiter out of the list it is in, if it is in one. */
export function unlink(node: WaitNode): boolean {
  return node.list?.remove(node) ?? false;
}
