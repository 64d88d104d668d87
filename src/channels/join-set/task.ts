/** What a `JoinSet` or a `JoinQueue` tells of a task that is over. */
export type TaskResult<T> =
  | { readonly id: number; readonly status: 'fulfilled'; readonly value: T }
  | { readonly id: number; readonly status: 'rejected'; readonly reason: unknown }
  | { readonly id: number; readonly status: 'cancelled'; readonly reason: unknown };

/** Work for a `JoinSet` or a `JoinQueue`: a function that is given the signal of its abort, or a promise of work that has begun. */
export type Task<T> = ((signal: AbortSignal) => T | PromiseLike<T>) | PromiseLike<T>;

/** One task, to abort it by itself. */
export interface AbortHandle {
  /** Unique among all tasks of all sets; `joinNext` reports it. */
  readonly id: number;
  /** Whether the task is over, joined or not. */
  readonly isFinished: boolean;
  /** Aborts the task, unless it is over. */
  abort(reason?: unknown): void;
}

let lastId = 0;

/**
 * A task at work.
 *
 * Invariants:
 * - It settles once: its result is told to the set it belongs to, if that still wants it.
 * - One that was aborted before it settled is cancelled, whatever it does afterwards. A function that declares a parameter can clean up, and is
 *   over when it settles; one that declares none is taken not to notice, and is over at once.
 */
export class RunningTask<T> implements AbortHandle {
  readonly id: number = ++lastId;
  readonly #onOver: (task: RunningTask<T>, result: TaskResult<T>) => void;
  readonly #hears: boolean;
  readonly #controller: AbortController = new AbortController();
  /** What it came to, once it is over. */
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
