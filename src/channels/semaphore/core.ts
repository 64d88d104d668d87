/**
 * The permits of a semaphore and those who wait for some.
 *
 * Invariants:
 * - Fair: permits go to the head of the queue, as many as come, until it has all it asked for; only then to the next. While anybody waits,
 *   `available` is 0.
 * - A permit is in one place: `available`, gathered by a waiter, or held. Whoever leaves the queue gives back what it gathered.
 * - Once closed, nobody waits.
 */
import { unlink, type Waiter, WaiterList } from '../waiters.js';
import { AcquireError } from './errors.js';
import { SemaphorePermit } from './permit.js';

/** One that waits for permits. */
export interface Acquirer extends Waiter<SemaphorePermit> {
  readonly count: number;
  gathered: number;
}

export class SemaphoreCore {
  available: number;
  closed = false;
  readonly #queue: WaiterList<Acquirer> = new WaiterList();

  constructor(permits: number) {
    this.available = permits;
  }

  /** Takes permits that are free, or answers undefined. */
  take(count: number): SemaphorePermit | undefined {
    if (this.available < count) return undefined;
    this.available -= count;
    return new SemaphorePermit(this, count);
  }

  enqueue(acquirer: Acquirer): void {
    acquirer.gathered = this.available;
    this.available = 0;
    this.#queue.push(acquirer);
  }

  /** Takes a waiter out of the queue. @returns False when it was not there. */
  withdraw(acquirer: Acquirer): boolean {
    if (!unlink(acquirer)) return false;
    const { gathered } = acquirer;
    acquirer.gathered = 0;
    this.release(gathered);
    return true;
  }

  release(count: number): void {
    for (let head = this.#queue.head; head !== null && count > 0; head = this.#queue.head) {
      const given = Math.min(count, head.count - head.gathered);
      head.gathered += given;
      count -= given;
      if (head.gathered < head.count) return;
      this.#queue.shift();
      head.deliver(new SemaphorePermit(this, head.count));
    }
    this.available += count;
  }

  close(): void {
    this.closed = true;
    for (let head = this.#queue.shift(); head !== null; head = this.#queue.shift()) {
      this.available += head.gathered;
      head.gathered = 0;
      head.fail(new AcquireError('Cannot acquire: the semaphore is closed'));
    }
  }
}
