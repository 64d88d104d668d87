import { faultOf } from '../../core/index.js';
import { signalOf, type WaitOptions } from '../abort.js';
import { LookIterator } from '../look-iterator.js';
import { LookSource, NOTHING, ParkingLot, park, type Watchable, wakeSoon } from '../parking.js';
import type { Selectable, SelectSource } from '../select/selectable.js';
import { type AbortHandle, RunningTask, type Task, type TaskResult } from './task.js';

/**
 * A set of tasks that are joined in the order in which they finish. A failure is a value of {@link JoinSet.joinNext} and never an unhandled
 * rejection; disposing the set aborts what is left in it.
 *
 * Aborting fires the signal that a task was given, and the task is over when it has settled. A task whose function takes no parameter, or that is
 * a promise, cannot notice: it is over at once, and what it still answers is dropped.
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
export class JoinSet<T> implements Selectable<TaskResult<T>>, Disposable, AsyncDisposable {
  readonly #running: Set<RunningTask<T>> = new Set();
  // Finished and not joined; taken from `#joined` on, so that draining many is linear.
  #finished: TaskResult<T>[] = [];
  #joined = 0;
  readonly #lot: ParkingLot = new ParkingLot();
  readonly #results: Watchable<IteratorResult<TaskResult<T>, undefined>> = {
    look: () => this.#look(),
    lot: this.#lot,
  };

  /** How many tasks are in the set: those at work, and those that are over and not joined. */
  get len(): number {
    return this.#running.size + this.#finished.length - this.#joined;
  }

  /** Whether there is no task in the set. */
  get isEmpty(): boolean {
    return this.len === 0;
  }

  /**
   * Adds a task and starts it in a microtask of its own.
   *
   * @param task A function, which may take the `AbortSignal` of its abort, or a promise.
   * @returns A handle to abort this task alone.
   * @throws TypeError When it is neither.
   */
  spawn(task: Task<T>): AbortHandle {
    if (typeof task !== 'function' && typeof (task as PromiseLike<T> | null | undefined)?.then !== 'function') {
      throw faultOf('Cannot spawn', 'task', 'a function or a promise', task);
    }
    const running = new RunningTask<T>(task, (over, result) => {
      // A set that was emptied by detachAll() has forgotten it.
      if (!this.#running.delete(over)) return;
      this.#finished.push(result);
      this.#lot.wakeAll();
    });
    this.#running.add(running);
    return running;
  }

  /**
   * Waits for the next task to be over and takes it out of the set.
   *
   * **Cancel safety:** cancel safe. An aborted wait has taken no result.
   *
   * @param options.signal Gives the wait up.
   * @returns The result: `{ id, status: 'fulfilled', value }`, `{ id, status: 'rejected', reason }`, or `{ id, status: 'cancelled', reason }` when it was
   * aborted; undefined when the set is empty.
   */
  async joinNext(options?: WaitOptions): Promise<TaskResult<T> | undefined> {
    const { value } = await park(this.#results, signalOf('Cannot join', options));
    return value;
  }

  /** The next result if a task is over now, or undefined. */
  tryJoinNext(): TaskResult<T> | undefined {
    const found = this.#look();
    return found === NOTHING ? undefined : found.value;
  }

  /**
   * Waits for all tasks and empties the set.
   *
   * **Cancel safety:** cancel safe. An aborted wait leaves the results in the set.
   *
   * @param options.signal Gives the wait up.
   * @returns The results in the order in which the tasks finished.
   */
  async joinAll(options?: WaitOptions): Promise<TaskResult<T>[]> {
    const look = (): true | typeof NOTHING => (this.#running.size === 0 ? true : NOTHING);
    await park({ look, lot: this.#lot }, signalOf('Cannot join', options));
    const results = this.#finished.slice(this.#joined);
    this.#finished = [];
    this.#joined = 0;
    return results;
  }

  /** Aborts every task. The tasks stay in the set until they are joined. */
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
  async shutdown(options?: WaitOptions): Promise<void> {
    this.abortAll();
    await this.joinAll(options);
  }

  /** Takes every task out of the set without stopping it; nobody hears of its result, a failure included. */
  detachAll(): void {
    this.#running.clear();
    this.#finished = [];
    this.#joined = 0;
    this.#lot.wakeAll();
  }

  /**
   * The results as they come, until the set is empty. Leaving it early stops no task.
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

  /** The same as {@link JoinSet.shutdown}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  /** How `select` looks at this arm. */
  selectSource(): SelectSource<TaskResult<T>> {
    return new LookSource(this.#results, () => this.isEmpty);
  }

  #look(): IteratorResult<TaskResult<T>, undefined> | typeof NOTHING {
    if (this.#joined < this.#finished.length) {
      const value = this.#finished[this.#joined++] as TaskResult<T>;
      if (this.#joined === this.#finished.length || this.#joined > 1_024) {
        this.#finished.splice(0, this.#joined);
        this.#joined = 0;
      }
      // The last one is taken: whoever else waits is told that the set is empty.
      if (this.isEmpty) wakeSoon(this.#lot);
      return { done: false, value };
    }
    return this.#running.size === 0 ? { done: true, value: undefined } : NOTHING;
  }
}
