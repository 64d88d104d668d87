/**
 * The permits of a semaphore, and their waiters.
 *
 * Invariants:
 * - Fair: permits go to the head of the queue until it has its whole count, and only then to the next. While the queue is not empty, `available`
 *   is 0.
 * - A permit is in one place: `available`, gathered by a waiter, or held. A waiter that leaves the queue gives back what it gathered.
 * - The queue of a closed semaphore is empty.
 */
import { requireInstance, requireNonNegativeInteger } from '../../core/index.js';
import { AcquireError } from '../errors.js';
import { unlink, type Waiter, WaiterList } from '../internal/waiters.js';

/** A waiter for permits. */
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

  /** Takes free permits; undefined when too few are free. */
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

  /** Withdraws a waiter. @returns False when it was not in the queue. */
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

/**
 * Permits that are held. Releasing them, which `using` does at the end of the scope, gives them to the next in the queue.
 *
 * @example
 * ```ts
 * const semaphore = new Semaphore(3);
 * const permit = await semaphore.acquireMany(2);
 * semaphore.availablePermits; // => 1
 * permit.release();
 * permit.release();
 * semaphore.availablePermits; // => 3
 * ```
 */
export class SemaphorePermit implements Disposable {
  readonly #core: SemaphoreCore;
  #count: number;

  /** @internal */
  constructor(core: SemaphoreCore, count: number) {
    this.#core = core;
    this.#count = count;
  }

  /** The number of permits it holds: 0 once they are released, forgotten or merged into another. */
  get numPermits(): number {
    return this.#count;
  }

  /** Gives the permits back. A second call does nothing. */
  release(): void {
    const count = this.#count;
    this.#count = 0;
    this.#core.release(count);
  }

  /** Removes the permits from the semaphore for ever. */
  forget(): void {
    this.#count = 0;
  }

  /**
   * Takes over the permits of another one, which then holds none.
   *
   * @param other Permits of the same semaphore.
   * @throws TypeError When `other` belongs to another semaphore.
   */
  merge(other: SemaphorePermit): void {
    requireInstance('Cannot merge permits', 'other', 'a permit of the same semaphore', other, SemaphorePermit);
    if (other.#core !== this.#core) {
      throw new TypeError(
        'Cannot merge permits: other must be a permit of the same semaphore, received one of another semaphore',
      );
    }
    if (other === this) return;
    this.#count += other.#count;
    other.#count = 0;
  }

  /**
   * Splits off some of the permits.
   *
   * @param count The number of permits to split off.
   * @returns The permits split off; undefined when this holds fewer.
   */
  split(count: number): SemaphorePermit | undefined {
    requireNonNegativeInteger('Cannot split permits', 'count', count);
    if (count > this.#count) return undefined;
    this.#count -= count;
    return new SemaphorePermit(this.#core, count);
  }

  /** Does what {@link SemaphorePermit.release} does. */
  [Symbol.dispose](): void {
    this.release();
  }
}
