import { faultOf, requireFunction } from '../core/index.js';
import { markHandled, readyVoid, rejected } from './internal/budget.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { NOTHING, ParkingLot, park } from './internal/parking.js';

/** Counts as one task for as long as it is not disposed. Made by {@link TaskTracker.token}. */
export class TaskTrackerToken implements Disposable {
  readonly #tracker: TaskTracker;
  readonly #onDispose: () => void;
  #live = true;

  /** @internal */
  constructor(tracker: TaskTracker, onDispose: () => void) {
    this.#tracker = tracker;
    this.#onDispose = onDispose;
  }

  /** The tracker it counts for. */
  get taskTracker(): TaskTracker {
    return this.#tracker;
  }

  /** Another token of the same tracker. */
  clone(): TaskTrackerToken {
    return this.#tracker.token();
  }

  /** Counts no longer. A second call does nothing. */
  [Symbol.dispose](): void {
    if (!this.#live) return;
    this.#live = false;
    this.#onDispose();
  }
}

/**
 * Counts tasks without keeping their results: for a shutdown that waits until all work is done.
 *
 * {@link TaskTracker.wait} resolves once the tracker is closed and empty; closing it does not keep tasks from being added.
 *
 * @example
 * ```ts
 * const tracker = new TaskTracker();
 * let done = 0;
 * for (let i = 0; i < 3; i++) void tracker.spawn(async () => { done++; });
 * tracker.close();
 * await tracker.wait();
 * done; // => 3
 * ```
 */
export class TaskTracker {
  #count = 0;
  #closed = false;
  // Grows whenever the tracker becomes closed and empty: who waited for that must hear of it, though it may be over by the time it looks.
  #rests = 0;
  readonly #lot: ParkingLot = new ParkingLot();

  /** How many tasks and tokens there are. */
  get len(): number {
    return this.#count;
  }

  /** Whether there are none. */
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Whether {@link TaskTracker.close} was called, and not {@link TaskTracker.reopen} since. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * Lets {@link TaskTracker.wait} resolve once the tracker is empty. Tasks can still be added.
   *
   * @returns Whether it was open.
   */
  close(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    if (this.#count === 0) this.#rest();
    return true;
  }

  /**
   * Keeps {@link TaskTracker.wait} from resolving until the tracker is closed again.
   *
   * @returns Whether it was closed.
   */
  reopen(): boolean {
    const was = this.#closed;
    this.#closed = false;
    return was;
  }

  /**
   * Runs a task and counts it until it settles.
   *
   * **Cancel safety:** not applicable; it takes no signal, and the task runs to its end.
   *
   * @param task Called in a microtask of its own.
   * @returns What the task answers. It need not be awaited: a failure that goes unseen is no unhandled rejection.
   */
  spawn<T>(task: () => T | PromiseLike<T>): Promise<T> {
    requireFunction('Cannot spawn', 'task', task);
    return this.trackFuture(Promise.resolve().then(task));
  }

  /**
   * Counts a promise until it settles.
   *
   * **Cancel safety:** not applicable; it takes no signal.
   *
   * @param future The promise.
   * @returns A promise of the same. It need not be awaited: a failure that goes unseen is no unhandled rejection.
   * @throws TypeError When it is none.
   */
  trackFuture<T>(future: PromiseLike<T>): Promise<T> {
    if (typeof (future as PromiseLike<T> | null | undefined)?.then !== 'function') {
      throw faultOf('Cannot track', 'future', 'a promise', future);
    }
    return markHandled(this.#track(future));
  }

  async #track<T>(future: PromiseLike<T>): Promise<T> {
    const token = this.token();
    try {
      return await future;
    } finally {
      token[Symbol.dispose]();
    }
  }

  /** Counts as a task until it is disposed. */
  token(): TaskTrackerToken {
    this.#count++;
    return new TaskTrackerToken(this, () => {
      if (--this.#count === 0 && this.#closed) this.#rest();
    });
  }

  /**
   * Waits until the tracker is closed and empty at one and the same time. A wait that has seen that moment resolves, though the tracker is
   * reopened or a task is added before it goes on.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options.signal Gives the wait up.
   */
  wait(options?: WaitOptions): Promise<void> {
    const signal = signalOf('Cannot wait for tasks', options);
    if (signal?.aborted) return rejected(signal.reason);
    if (this.#closed && this.#count === 0) return readyVoid();
    const rests = this.#rests;
    const look = (): undefined | typeof NOTHING => (this.#rests === rests ? NOTHING : undefined);
    return park({ look, lot: this.#lot }, signal);
  }

  #rest(): void {
    this.#rests++;
    this.#lot.wakeAll();
  }
}
