import { type Linked, LinkedList } from '../core/index.js';

/** How urgent a call is. */
export type Priority = 'interactive' | 'normal' | 'batch';

/** The classes, most urgent first. */
export const priorities: readonly Priority[] = ['interactive', 'normal', 'batch'];

/** The share of the dispatches that a class gets at least while it has requests waiting and more urgent ones saturate the workers. */
export interface PriorityShares {
  readonly normal: number;
  readonly batch: number;
}

/** What an item must carry to wait in a {@link PriorityQueue}: its links, owned by the queue, and its class. */
export interface Queueable<T> extends Linked<T> {
  priority: Priority;
  isQueued: boolean;
}

// Two classes that fall due together are served one after the other, so neither ever has more than this to its credit.
const CREDIT_LIMIT = 2;
const ROUNDING = 1e-9;

/**
 * First in, first out within a class, the more urgent class first, with a share for the others.
 *
 * Invariants: with every take, a class with something waiting earns its share; a class that has earned 1 goes before the more urgent ones
 * and pays 1, the least urgent first. So under saturation each gets its share exactly, and `batch` waits at most 1 / share takes. A class
 * that is served in its natural turn, or has nothing waiting, keeps no credit. Removal is O(1). The newest of the class may be
 * taken instead of the oldest; which class it is does not depend on that.
 */
export class PriorityQueue<T extends Queueable<T>> {
  readonly #lists: Readonly<Record<Priority, LinkedList<T>>>;
  readonly #shares: PriorityShares;
  #normalCredit = 0;
  #batchCredit = 0;
  #chosen: LinkedList<T> | undefined;
  /** How many items wait, of all classes. Only the queue changes it. */
  size = 0;

  constructor(shares: PriorityShares) {
    this.#shares = shares;
    this.#lists = { interactive: new LinkedList<T>(), normal: new LinkedList<T>(), batch: new LinkedList<T>() };
  }

  sizeOf(priority: Priority): number {
    return this.#lists[priority].size;
  }

  push(item: T): void {
    item.isQueued = true;
    this.size += 1;
    this.#lists[item.priority].push(item);
  }

  /** Puts an item at the head of its class: for a retry, which has waited once already. */
  pushFront(item: T): void {
    item.isQueued = true;
    this.size += 1;
    this.#lists[item.priority].pushFront(item);
  }

  /** Takes an item out, wherever it stands. */
  remove(item: T): boolean {
    if (!item.isQueued) return false;
    item.isQueued = false;
    this.size -= 1;
    this.#lists[item.priority].remove(item);
    return true;
  }

  /** The item whose turn it is; it stays its turn until it is taken or removed. */
  peek(): T | undefined {
    if (this.#chosen === undefined || this.#chosen.size === 0) this.#chosen = this.#choose();
    return this.#chosen.first;
  }

  /** Takes the item whose turn it is, or the newest of the same class instead. */
  take(newest = false): T | undefined {
    const head = this.peek();
    const item = newest ? this.#chosen?.last : head;
    this.#chosen = undefined;
    if (item !== undefined) this.remove(item);
    return item;
  }

  /** Takes the most urgent item above the class `'batch'`, whose turn stays as it is, or the newest of the same class instead. */
  takeUrgent(newest = false): T | undefined {
    const { interactive, normal } = this.#lists;
    const list = interactive.size > 0 ? interactive : normal;
    const item = newest ? list.last : list.first;
    if (item !== undefined) this.remove(item);
    return item;
  }

  /** Every item, the most urgent class first. */
  toArray(): T[] {
    return priorities.flatMap((priority) => this.#lists[priority].toArray());
  }

  #choose(): LinkedList<T> {
    const { interactive, normal, batch } = this.#lists;
    this.#batchCredit = batch.size === 0 ? 0 : Math.min(this.#batchCredit + this.#shares.batch, CREDIT_LIMIT);
    this.#normalCredit = normal.size === 0 ? 0 : Math.min(this.#normalCredit + this.#shares.normal, CREDIT_LIMIT);
    if (this.#batchCredit >= 1 - ROUNDING) {
      this.#batchCredit -= 1;
      return batch;
    }
    if (this.#normalCredit >= 1 - ROUNDING) {
      this.#normalCredit -= 1;
      return normal;
    }
    if (interactive.size > 0) return interactive;
    if (normal.size > 0) {
      this.#normalCredit = 0;
      return normal;
    }
    this.#batchCredit = 0;
    return batch;
  }
}
