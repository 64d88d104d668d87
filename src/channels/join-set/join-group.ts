/**
 * What `JoinSet` and `JoinQueue` share.
 *
 * Invariants:
 * - `#queue` holds the tasks in the order in which they are joined: a set adds a task when it is over, a queue when it is spawned. So the next
 *   result is that of the first, if it is over.
 * - A task that was forgotten (`detachAll`) changes nothing any more.
 */
import { faultOf } from '../../core/index.js';
import { signalOf, type WaitOptions } from '../abort.js';
import { LookIterator } from '../look-iterator.js';
import { LookSource, NOTHING, ParkingLot, park, type Watchable, wakeSoon } from '../parking.js';
import type { Selectable, SelectSource } from '../select/selectable.js';
import { type AbortHandle, RunningTask, type Task, type TaskResult } from './task.js';

const ACTION = 'Cannot join';

/** Tasks that are joined one by one: a `JoinSet` or a `JoinQueue`. */
export abstract class JoinGroup<T> implements Selectable<TaskResult<T>>, Disposable, AsyncDisposable {
  readonly #joinsInOrder: boolean;
  readonly #running: Set<RunningTask<T>> = new Set();
  #queue: RunningTask<T>[] = [];
  // Joined ones are before it, so that draining many is linear.
  #head = 0;
  #len = 0;
  /** Tasks that are over, not joined, and did not succeed. */
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

  /** How many tasks there are: those at work, and those that are over and not joined. */
  get len(): number {
    return this.#len;
  }

  /** Whether there is no task. */
  get isEmpty(): boolean {
    return this.#len === 0;
  }

  /**
   * Adds a task and starts it in a microtask of its own.
   *
   * @param task A function, which is given the `AbortSignal` of its abort, or a promise.
   * @returns A handle to abort this task alone.
   * @throws TypeError When it is neither.
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
   * Waits for the next task to be over and takes it out.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken no result.
   *
   * @param options.signal Gives the wait up.
   * @returns The result: `{ id, status: 'fulfilled', value }`, `{ id, status: 'rejected', reason }`, or `{ id, status: 'cancelled', reason }` when it was
   * aborted; undefined when there is no task.
   */
  joinNext(options?: WaitOptions): Promise<TaskResult<T> | undefined> {
    return park(this.#results, signalOf(ACTION, options)).then(({ value }) => value);
  }

  /** The next result if there is one now, or undefined. */
  tryJoinNext(): TaskResult<T> | undefined {
    const found = this.#look();
    return found === NOTHING ? undefined : found.value;
  }

  /**
   * Waits until every task has succeeded, and takes them all out. The first failure ends it: what still runs is aborted, and all are forgotten.
   * Where the results are wanted whatever they are, join them one by one.
   *
   * **Cancel safety:** cancel safe. An aborted wait leaves every task where it is.
   *
   * @param options.signal Gives the wait up.
   * @returns The values, in the order of joining.
   * @throws Whatever a task failed with, or was aborted with (rejects).
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
   * Aborts every task and waits until all are over, results dropped. A task that takes a signal and ignores it is waited for.
   *
   * **Cancel safety:** cancel safe: the tasks are aborted in any case.
   *
   * @param options.signal Gives the wait up.
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

  /** Forgets every task without stopping it; its result is not reported, a failure included. */
  detachAll(): void {
    this.#running.clear();
    this.#forget();
  }

  /**
   * The results as they can be joined, until there is no task. Leaving it early stops no task.
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

  /** How `select` looks at this arm. */
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

  /** Empties it, and aborts what runs. */
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
