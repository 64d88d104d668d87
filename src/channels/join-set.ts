/**
 * Sets of tasks that are joined one by one.
 *
 * Invariants:
 * - `#queue` holds the tasks in the order in which they are joined: a set adds a task when it is over, a queue when it is spawned. The next result is
 *   that of the first task, once that is over.
 * - A task settles once. A task that was aborted before it settled is cancelled, whatever it does afterwards: a function that declares a parameter can
 *   clean up, and is over when it settles; one that declares none cannot notice, and is over at once.
 * - A task that was forgotten (`detachAll`) changes nothing any more.
 */
import { faultOf } from '../core/index.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { LookIterator, LookSource, NOTHING, park, type Watchable, wakeSoon } from './internal/parking.js';
import { ParkingLot } from './internal/waiters.js';
import type { Selectable, SelectSource } from './select/selectable.js';

const ACTION = 'Cannot join';

/** The result of a task. */
export type TaskResult<T> =
  | { readonly id: number; readonly status: 'fulfilled'; readonly value: T }
  | { readonly id: number; readonly status: 'rejected'; readonly reason: unknown }
  | { readonly id: number; readonly status: 'cancelled'; readonly reason: unknown };

/** A task for a `JoinSet` or a `JoinQueue`: a function that is given the signal of its abort, or a promise of running work. */
export type Task<T> = ((signal: AbortSignal) => T | PromiseLike<T>) | PromiseLike<T>;

/** A handle to one task. */
export interface AbortHandle {
  /** The id of the task, unique among the tasks of all sets; its result has it too. */
  readonly id: number;
  /** Whether the task is over, joined or not. */
  readonly isFinished: boolean;
  /** Aborts the task, unless it is over. */
  abort(reason?: unknown): void;
}

let lastId = 0;

/** A running task. */
class RunningTask<T> implements AbortHandle {
  readonly id: number = ++lastId;
  readonly #onOver: (task: RunningTask<T>, result: TaskResult<T>) => void;
  readonly #hears: boolean;
  readonly #controller: AbortController = new AbortController();
  /** The result, once the task is over. */
  result: TaskResult<T> | undefined = undefined;
  #aborted = false;
  #reason: unknown = undefined;

  constructor(task: Task<T>, onOver: (task: RunningTask<T>, result: TaskResult<T>) => void) {
    this.#onOver = onOver;
    this.#hears = typeof task === 'function' && task.length > 0;
    this.#run(task).then(
      (value) => this.#finish({ id: this.id, status: 'fulfilled', value }),
      (reason: unknown) => this.#finish({ id: this.id, status: 'rejected', reason }),
    );
  }

  get isFinished(): boolean {
    return this.result !== undefined;
  }

  abort(reason: unknown = new DOMException('The task was aborted', 'AbortError')): void {
    if (this.result !== undefined || this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    if (!this.#hears) this.#finish({ id: this.id, status: 'cancelled', reason });
    this.#controller.abort(reason);
  }

  // Starts in a microtask, as a spawned task does: never inside spawn().
  async #run(task: Task<T>): Promise<T> {
    if (typeof task !== 'function') return task;
    await null;
    if (this.#aborted) throw this.#reason;
    return (task as (signal: AbortSignal) => T | PromiseLike<T>)(this.#controller.signal);
  }

  #finish(result: TaskResult<T>): void {
    if (this.result !== undefined) return;
    this.result = this.#aborted ? { id: this.id, status: 'cancelled', reason: this.#reason } : result;
    this.#onOver(this, this.result);
  }
}

/** The common part of {@link JoinSet} and {@link JoinQueue}. */
export abstract class JoinGroup<T> implements Selectable<TaskResult<T>>, Disposable, AsyncDisposable {
  readonly #joinsInOrder: boolean;
  readonly #running: Set<RunningTask<T>> = new Set();
  #queue: RunningTask<T>[] = [];
  // Joined tasks stand before it, so that draining many is linear.
  #head = 0;
  #len = 0;
  /** The number of tasks that are over, not joined, and did not succeed. */
  #failures = 0;
  readonly #lot: ParkingLot = new ParkingLot();
  readonly #results: Watchable<IteratorResult<TaskResult<T>, undefined>> = {
    look: () => this.#look(),
    lot: this.#lot,
  };

  /** @internal */
  constructor(joinsInOrder: boolean) {
    this.#joinsInOrder = joinsInOrder;
  }

  /** The number of tasks: running, or over and not joined. */
  get len(): number {
    return this.#len;
  }

  /** Whether the group has no task. */
  get isEmpty(): boolean {
    return this.#len === 0;
  }

  /**
   * Adds a task and starts it in a microtask of its own.
   *
   * @param task A function, which is given an `AbortSignal`, or a promise.
   * @returns A handle to abort this task alone.
   * @throws TypeError When the task is neither.
   */
  spawn(task: Task<T>): AbortHandle {
    if (typeof task !== 'function' && typeof (task as PromiseLike<T> | null | undefined)?.then !== 'function') {
      throw faultOf('Cannot spawn', 'task', 'a function or a promise', task);
    }
    const running = new RunningTask<T>(task, (over, result) => {
      if (!this.#running.delete(over)) return;
      if (result.status !== 'fulfilled') this.#failures++;
      if (!this.#joinsInOrder) this.#queue.push(over);
      this.#lot.wakeAll();
    });
    this.#len++;
    this.#running.add(running);
    if (this.#joinsInOrder) this.#queue.push(running);
    return running;
  }

  /**
   * Waits until the next task is over, and removes it.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken no result.
   *
   * @param options.signal Abandons the wait.
   * @returns The result: `{ id, status: 'fulfilled', value }`, `{ id, status: 'rejected', reason }`, or `{ id, status: 'cancelled', reason }` when it was
   * aborted; undefined when the group has no task.
   */
  joinNext(options?: WaitOptions): Promise<TaskResult<T> | undefined> {
    return park(this.#results, signalOf(ACTION, options)).then(({ value }) => value);
  }

  /** Takes the next result, without waiting; undefined while no task is over. */
  tryJoinNext(): TaskResult<T> | undefined {
    const found = this.#look();
    return found === NOTHING ? undefined : found.value;
  }

  /**
   * Waits until every task has succeeded, and removes them all. The first failure ends the wait: running tasks are aborted, and all are forgotten. To
   * get every result, failures included, join them one by one.
   *
   * **Cancel safety:** cancel safe. An aborted wait leaves every task where it is.
   *
   * @param options.signal Abandons the wait.
   * @returns The values, in the order of joining.
   * @throws The reason that a task failed or was aborted with (rejects).
   * @example
   * ```ts
   * const tasks = new JoinSet<number>();
   * for (const n of [1, 2]) tasks.spawn(async () => n);
   * await tasks.joinAll(); // => [1, 2]
   * tasks.spawn(async () => {
   *   throw new RangeError('broken');
   * });
   * await tasks.joinAll(); // throws RangeError
   * ```
   */
  joinAll(options?: WaitOptions): Promise<T[]> {
    const look = (): T[] | typeof NOTHING => {
      if (this.#failures === 0 && this.#running.size > 0) return NOTHING;
      const values: T[] = [];
      let failure: Exclude<TaskResult<T>, { readonly status: 'fulfilled' }> | undefined;
      for (const { result } of this.#queue.slice(this.#head)) {
        if (result?.status === 'fulfilled') values.push(result.value);
        else failure ??= result;
      }
      this.#forget();
      if (failure !== undefined) throw failure.reason;
      return values;
    };
    return park({ look, lot: this.#lot }, signalOf(ACTION, options));
  }

  /** Aborts every task. The tasks stay until they are joined. */
  abortAll(reason?: unknown): void {
    for (const task of [...this.#running]) task.abort(reason);
  }

  /**
   * Aborts every task and waits until all are over; the results are dropped. A task that takes a signal and ignores it is waited for.
   *
   * **Cancel safety:** cancel safe; the tasks are aborted in any case.
   *
   * @param options.signal Abandons the wait.
   */
  shutdown(options?: WaitOptions): Promise<void> {
    const signal = signalOf(ACTION, options);
    this.abortAll();
    const look = (): undefined | typeof NOTHING => {
      if (this.#running.size > 0) return NOTHING;
      this.#forget();
      return undefined;
    };
    return park({ look, lot: this.#lot }, signal);
  }

  /** Forgets every task without stopping it. Results, failures included, are not reported. */
  detachAll(): void {
    this.#running.clear();
    this.#forget();
  }

  /**
   * Iterates over the results until the group has no task. Leaving the iteration early stops no task.
   *
   * **Cancel safety:** cancel safe. `return()` settles a pending `next()`, which has then taken no result.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<TaskResult<T>, undefined, undefined> {
    return new LookIterator(this.#results);
  }

  /** Aborts every task and forgets them all. */
  [Symbol.dispose](): void {
    this.abortAll();
    this.detachAll();
  }

  /** The same as `shutdown()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  /** The group as an arm of `select`. */
  selectSource(): SelectSource<TaskResult<T>> {
    return new LookSource(this.#results, () => this.isEmpty);
  }

  #look(): IteratorResult<TaskResult<T>, undefined> | typeof NOTHING {
    if (this.#len === 0) return { done: true, value: undefined };
    const value = this.#queue[this.#head]?.result;
    if (value === undefined) return NOTHING;
    this.#head++;
    if (this.#head === this.#queue.length || this.#head > 1_024) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
    if (value.status !== 'fulfilled') this.#failures--;
    if (--this.#len === 0) wakeSoon(this.#lot);
    return { done: false, value };
  }

  /** Removes every task, and aborts the running ones. */
  #forget(): void {
    const running = [...this.#running];
    this.#running.clear();
    this.#queue = [];
    this.#head = 0;
    this.#failures = 0;
    this.#len = 0;
    for (const task of running) task.abort();
    wakeSoon(this.#lot);
  }
}

/**
 * A set of tasks that are joined in the order in which they finish. A failure is a value of {@link JoinSet.joinNext} and never an unhandled
 * rejection; disposing of the set aborts its tasks.
 *
 * A task that is a function is given a signal. Aborting the task fires it, and the task is over when it has settled. A function that declares no
 * parameter, and a promise, cannot notice: they are over at once, and their results are dropped.
 *
 * As an arm of `select` it wins with the next result, and counts as ended while it is empty.
 *
 * @example
 * ```ts
 * const tasks = new JoinSet<number>();
 * for (const n of [3, 1, 2]) {
 *   tasks.spawn(async () => {
 *     for (let hop = 0; hop < n * 10; hop++) await null;
 *     return n;
 *   });
 * }
 * const order: number[] = [];
 * for await (const result of tasks) if (result.status === 'fulfilled') order.push(result.value);
 * order; // => [1, 2, 3]
 * ```
 */
export class JoinSet<T> extends JoinGroup<T> {
  constructor() {
    super(false);
  }
}

/**
 * Tasks that run concurrently and are joined in the order in which they were spawned. An aborted task keeps its place, and is joined as cancelled. In
 * all else it is a {@link JoinSet}.
 *
 * As an arm of `select` it wins with the result of the oldest task, once that is over, and counts as ended while it is empty.
 *
 * @example
 * ```ts
 * const tasks = new JoinQueue<number>();
 * for (const n of [3, 1, 2]) {
 *   tasks.spawn(async () => {
 *     for (let hop = 0; hop < n * 10; hop++) await null;
 *     return n;
 *   });
 * }
 * await tasks.joinAll(); // => [3, 1, 2]
 * ```
 */
export class JoinQueue<T> extends JoinGroup<T> {
  constructor() {
    super(true);
  }
}
