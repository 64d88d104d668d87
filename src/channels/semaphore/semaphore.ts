import { requireInstance, requireNonNegativeInteger } from '../../core/index.js';
import { AcquireError, NoPermitsError } from '../errors.js';
import { ready, rejected } from '../internal/budget.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { PromiseWaiter, Waiter } from '../internal/waiters.js';
import {
  FAILED,
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from '../select/selectable.js';
import { type Acquirer, SemaphoreCore, type SemaphorePermit } from './core.js';

const cores = new WeakMap<Semaphore, SemaphoreCore>();

/**
 * A fair counting semaphore: it bounds how many tasks do something at a time.
 *
 * Requests are served in order: a large one at the head of the queue holds up small ones behind it, and {@link Semaphore.tryAcquire} never
 * overtakes a waiting request. `acquiring(semaphore, count)` is an arm of `select`.
 *
 * @example
 * ```ts
 * const semaphore = new Semaphore(2);
 * let running = 0;
 * let most = 0;
 * await Promise.all([1, 2, 3, 4].map(async () => {
 *   const permit = await semaphore.acquire();
 *   most = Math.max(most, ++running);
 *   await Promise.resolve();
 *   running--;
 *   permit.release();
 * }));
 * most; // => 2
 * ```
 */
export class Semaphore {
  /** The most permits that a semaphore can have. */
  static readonly MAX_PERMITS: number = Number.MAX_SAFE_INTEGER;

  readonly #core: SemaphoreCore;

  /**
   * @param permits The number of permits at first, 0 or more.
   * @throws RangeError When the number is negative, fractional or more than {@link Semaphore.MAX_PERMITS}.
   */
  constructor(permits: number) {
    this.#core = new SemaphoreCore(requireNonNegativeInteger('Cannot create semaphore', 'permits', permits));
    cores.set(this, this.#core);
  }

  /**
   * Waits for a permit.
   *
   * **Cancel safety:** cancel safe, but loses its place. An aborted wait gives back the permits it has gathered.
   *
   * @param options.signal Abandons the wait.
   * @returns The permit, to be released.
   * @throws AcquireError (rejects) When the semaphore is closed, before or during the wait.
   */
  acquire(options?: WaitOptions): Promise<SemaphorePermit> {
    return this.#acquire(1, options);
  }

  /**
   * Waits for several permits at once.
   *
   * A request for more permits than the semaphore has waits until some are added. A request for 0 permits is granted at once.
   *
   * **Cancel safety:** cancel safe, but loses its place. An aborted wait gives back the permits it has gathered.
   *
   * @param count The number of permits.
   * @param options.signal Abandons the wait.
   * @returns The permits, to be released together or split.
   * @throws AcquireError (rejects) When the semaphore is closed, before or during the wait.
   */
  acquireMany(count: number, options?: WaitOptions): Promise<SemaphorePermit> {
    return this.#acquire(count, options);
  }

  /**
   * Takes a permit, without waiting.
   *
   * @throws NoPermitsError When no permit is free.
   * @throws AcquireError When the semaphore is closed.
   * @example
   * ```ts
   * const semaphore = new Semaphore(1);
   * const permit = semaphore.tryAcquire();
   * semaphore.tryAcquire(); // throws NoPermitsError
   * permit.release();
   * semaphore.tryAcquire().numPermits; // => 1
   * ```
   */
  tryAcquire(): SemaphorePermit {
    return this.tryAcquireMany(1);
  }

  /**
   * Takes several permits, without waiting.
   *
   * @param count The number of permits.
   * @throws NoPermitsError When fewer are free.
   * @throws AcquireError When the semaphore is closed.
   */
  tryAcquireMany(count: number): SemaphorePermit {
    requireNonNegativeInteger('Cannot acquire', 'count', count);
    if (this.#core.closed) throw new AcquireError('Cannot acquire: the semaphore is closed');
    const permit = this.#core.take(count);
    if (permit !== undefined) return permit;
    throw new NoPermitsError(`Cannot acquire: ${count} permits wanted, ${this.#core.available} free`);
  }

  /** The number of free permits. */
  get availablePermits(): number {
    return this.#core.available;
  }

  /**
   * Adds permits; the semaphore may be closed.
   *
   * @param count The number of permits.
   * @throws RangeError When the semaphore would have more than {@link Semaphore.MAX_PERMITS}.
   */
  addPermits(count: number): void {
    requireNonNegativeInteger('Cannot add permits', 'count', count, Semaphore.MAX_PERMITS - this.#core.available);
    this.#core.release(count);
  }

  /**
   * Removes free permits for ever, up to a count.
   *
   * @param count The most permits to remove.
   * @returns The number of permits removed.
   */
  forgetPermits(count: number): number {
    requireNonNegativeInteger('Cannot forget permits', 'count', count);
    const forgotten = Math.min(count, this.#core.available);
    this.#core.available -= forgotten;
    return forgotten;
  }

  /** Rejects every pending and every later request. Held permits stay valid. */
  close(): void {
    this.#core.close();
  }

  /** Whether the semaphore is closed. */
  get isClosed(): boolean {
    return this.#core.closed;
  }

  /** Does what {@link Semaphore.close} does. */
  [Symbol.dispose](): void {
    this.close();
  }

  #acquire(count: number, options: WaitOptions | undefined): Promise<SemaphorePermit> {
    const signal = signalOf('Cannot acquire', options);
    requireNonNegativeInteger('Cannot acquire', 'count', count);
    if (signal?.aborted) return rejected(signal.reason);
    if (this.#core.closed) return rejected(new AcquireError('Cannot acquire: the semaphore is closed'));
    const permit = this.#core.take(count);
    if (permit !== undefined) return ready(permit);
    return new AcquireWaiter(this.#core, count).until(signal);
  }
}

class AcquireWaiter extends PromiseWaiter<SemaphorePermit, SemaphorePermit> implements Acquirer {
  readonly #core: SemaphoreCore;
  readonly count: number;
  gathered = 0;

  constructor(core: SemaphoreCore, count: number) {
    super();
    this.#core = core;
    this.count = count;
    core.enqueue(this);
  }

  override deliver(permit: SemaphorePermit): void {
    this.resolve(permit);
  }

  protected override withdraw(): boolean {
    return this.#core.withdraw(this);
  }
}

/**
 * Permits of a semaphore as an arm of `select`: it wins with the permits, and fails with `AcquireError` when the semaphore is closed.
 *
 * **Cancel safety:** cancel safe, but loses its place: a losing arm gives back the permits it has gathered.
 *
 * @param semaphore The semaphore.
 * @param count The number of permits.
 * @example
 * ```ts
 * const semaphore = new Semaphore(1);
 * const event = await select({ slot: acquiring(semaphore) });
 * event.arm; // => 'slot'
 * semaphore.availablePermits; // => 0
 * ```
 */
export function acquiring(semaphore: Semaphore, count: number = 1): Selectable<SemaphorePermit> {
  requireInstance('Cannot acquire', 'semaphore', 'a Semaphore', semaphore, Semaphore);
  const core = cores.get(semaphore) as SemaphoreCore;
  requireNonNegativeInteger('Cannot acquire', 'count', count);
  return { selectSource: () => new AcquireSource(core, count) };
}

class AcquireSource implements SelectSource<SemaphorePermit> {
  readonly #core: SemaphoreCore;
  readonly #count: number;

  constructor(core: SemaphoreCore, count: number) {
    this.#core = core;
    this.#count = count;
  }

  poll(slot: Slot): Poll {
    if (this.#core.closed) {
      slot.value = new AcquireError('Cannot acquire: the semaphore is closed');
      return FAILED;
    }
    const permit = this.#core.take(this.#count);
    if (permit === undefined) return PENDING;
    slot.value = permit;
    return READY;
  }

  register(waiter: SelectWaiter): void {
    const node = waiter.link instanceof AcquireNode ? waiter.link : new AcquireNode(waiter, this.#count);
    waiter.link = node;
    this.#core.enqueue(node);
  }

  unregister(waiter: SelectWaiter): void {
    this.#core.withdraw(waiter.link as AcquireNode);
  }

  isEnded(): boolean {
    return false;
  }
}

class AcquireNode extends Waiter<SemaphorePermit> implements Acquirer {
  readonly #waiter: SelectWaiter;
  readonly count: number;
  gathered = 0;

  constructor(waiter: SelectWaiter, count: number) {
    super();
    this.#waiter = waiter;
    this.count = count;
  }

  override deliver(permit: SemaphorePermit): void {
    this.#waiter.deliver(permit);
  }

  override end(): void {
    this.#waiter.end();
  }

  override fail(reason: unknown): void {
    this.#waiter.fail(reason);
  }
}
