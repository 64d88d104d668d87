import { requireInstance, requireNonNegativeInteger } from '../../core/index.js';
import type { SemaphoreCore } from './core.js';

/**
 * Permits that are held. Releasing them, which `using` does on leaving the scope, gives them to the next in the queue.
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

  /** How many permits this holds: 0 once they are released, forgotten or merged into another. */
  get numPermits(): number {
    return this.#count;
  }

  /** Gives the permits back. A second call does nothing. */
  release(): void {
    const count = this.#count;
    this.#count = 0;
    this.#core.release(count);
  }

  /** Takes the permits out of the semaphore for ever. */
  forget(): void {
    this.#count = 0;
  }

  /**
   * Takes over the permits of another, which then holds none.
   *
   * @param other Permits of the same semaphore.
   * @throws TypeError When they are another semaphore's.
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
   * @param count How many.
   * @returns What was split off, or undefined when this holds fewer.
   */
  split(count: number): SemaphorePermit | undefined {
    requireNonNegativeInteger('Cannot split permits', 'count', count);
    if (count > this.#count) return undefined;
    this.#count -= count;
    return new SemaphorePermit(this.#core, count);
  }

  /** The same as {@link SemaphorePermit.release}. */
  [Symbol.dispose](): void {
    this.release();
  }
}
