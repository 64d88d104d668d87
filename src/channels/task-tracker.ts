import { faultOf, requireFunction } from '../core/index.js';
import { markHandled, readyVoid, rejected } from './internal/budget.js';
import { NOTHING, park } from './internal/parking.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { ParkingLot } from './internal/waiters.js';

/** Counts as one task until it is disposed of. Made by {@link TaskTracker.token}. */
export class TaskTrackerToken implements Disposable {
  readonly #tracker: TaskTracker;
  readonly #onDispose: () => void;
  #isLive = true;

  /** @internal */
  constructor(tracker: TaskTracker, onDispose: () => void) {
    this.#tracker = tracker;
    this.#onDispose = onDispose;
  }

  /** The tracker of the token. */
  get taskTracker(): TaskTracker {
    return this.#tracker;
  }

  /** Makes another token of the same tracker. */
  clone(): TaskTrackerToken {
    return this.#tracker.token();
  }

  /** Stops counting. A second call does nothing. */
  [Symbol.dispose](): void {
    if (!this.#isLive) return;
    this.#isLive = false;
    this.#onDispose();
  }
}

/**
 * Counts tasks without keeping their results: for a shutdown that waits for all work.
 *
 * {@link TaskTracker.wait} resolves once the tracker is closed and empty. Tasks can be added to a closed tracker.
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
  #isClosed = false;
  // Grows whenever the tracker becomes closed and empty: a wait resolves for that moment, though it may have passed when the wait looks.
  #rests = 0;
  readonly #lot: ParkingLot = new ParkingLot();

  /** The number of tasks and tokens. */
  get len(): number {
    return this.#count;
  }

  /** Whether the tracker has no task and no token. */
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Whether {@link TaskTracker.close} was called, and not {@link TaskTracker.reopen} since. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Lets {@link TaskTracker.wait} resolve once the tracker is empty. Tasks can still be added.
   *
   * @returns Whether it was open.
   */
  close(): boolean {
    if (this.#isClosed) return false;
    this.#isClosed = true;
    if (this.#count === 0) this.#rest();
    return true;
  }

  /**
   * Keeps {@link TaskTracker.wait} from resolving until the tracker is closed again.
   *
   * @returns Whether it was closed.
   */
  reopen(): boolean {
    const was = this.#isClosed;
    this.#isClosed = false;
    return was;
  }

  /**
   * Runs a task and counts it until it settles.
   *
   * **Cancel safety:** not applicable; it takes no signal, and the task runs to its end.
   *
   * @param task Called in a microtask of its own.
   * @returns The result of the task. It need not be awaited: an unseen failure is no unhandled rejection.
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
   * @returns The result of the promise. It need not be awaited: an unseen failure is no unhandled rejection.
   * @throws TypeError When `future` is no promise.
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

  /** Makes a token, which counts as a task until it is disposed of. */
  token(): TaskTrackerToken {
    this.#count++;
    return new TaskTrackerToken(this, () => {
      if (--this.#count === 0 && this.#isClosed) this.#rest();
    });
  }

  /**
   * Waits until the tracker is closed and empty at the same time. It resolves for such a moment although the tracker is reopened or a task is added
   * right after it.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options.signal Abandons the wait.
   */
  wait(options?: WaitOptions): Promise<void> {
    const signal = signalOf('Cannot wait for tasks', options);
    if (signal?.aborted) return rejected(signal.reason);
    if (this.#isClosed && this.#count === 0) return readyVoid();
    const rests = this.#rests;
    const look = (): undefined | typeof NOTHING => (this.#rests === rests ? NOTHING : undefined);
    return park({ look, lot: this.#lot }, signal);
  }

  #rest(): void {
    this.#rests++;
    this.#lot.wakeAll();
  }
}
