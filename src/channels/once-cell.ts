import { addAbortListener, removeAbortListener, requireFunction } from '../core/index.js';
import { AlreadyInitializedError, InitializingError } from './errors.js';
import { ready, rejected } from './internal/budget.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { CallbackWaiter } from './internal/waiters.js';
import { Semaphore } from './semaphore/semaphore.js';

type Init<T> = (signal: AbortSignal | undefined) => T | PromiseLike<T>;

/**
 * A value that is made once, by the first caller that needs it.
 *
 * @example
 * ```ts
 * const cell = new OnceCell<string>();
 * let loads = 0;
 * const load = async () => `model ${++loads}`;
 * await Promise.all([cell.getOrInit(load), cell.getOrInit(load)]); // => ['model 1', 'model 1']
 * cell.get(); // => 'model 1'
 * cell.set('another'); // throws AlreadyInitializedError
 * ```
 */
export class OnceCell<T> {
  #value: T | undefined = undefined;
  #isInitialized = false;
  // Its one permit is the right to initialise. A failed initialiser hands it to the next caller.
  #turn: Semaphore = new Semaphore(1);

  /** Makes a cell that has its value already. */
  static of<T>(value: T): OnceCell<T> {
    const cell = new OnceCell<T>();
    cell.set(value);
    return cell;
  }

  /** Whether the cell has a value. */
  get isInitialized(): boolean {
    return this.#isInitialized;
  }

  /** The value; undefined while the cell has none. */
  get(): T | undefined {
    return this.#value;
  }

  /**
   * Sets the value.
   *
   * @throws AlreadyInitializedError When the cell has a value.
   * @throws InitializingError While an initialiser runs.
   */
  set(value: T): void {
    if (this.#isInitialized) throw new AlreadyInitializedError('Cannot set cell: it has a value', value);
    if (this.#turn.availablePermits === 0) {
      throw new InitializingError('Cannot set cell: an initialiser is running', value);
    }
    this.#value = value;
    this.#isInitialized = true;
  }

  /**
   * Gives the value, made by the initialiser if the cell has none.
   *
   * Callers that come while an initialiser runs wait for it. When it fails, its own caller gets the failure and the next caller's initialiser
   * runs. A promise or thenable that the initialiser returns is followed; {@link OnceCell.get} gives one that was {@link OnceCell.set} as it is.
   *
   * **Cancel safety:** cancel safe. When the signal of the caller whose initialiser runs fires, the initialiser's signal fires too, its result is
   * dropped, and the next caller's initialiser runs.
   *
   * @param init Makes the value, or a promise of it.
   * @param options.signal Abandons the wait.
   * @throws Any exception of this caller's initialiser (rejects).
   */
  getOrInit(init: Init<T>, options?: WaitOptions): Promise<T> {
    requireFunction('Cannot initialise cell', 'init', init);
    const signal = signalOf('Cannot initialise cell', options);
    return signal?.aborted ? rejected(signal.reason) : this.#getOrInit(init, signal);
  }

  async #getOrInit(init: Init<T>, signal: AbortSignal | undefined): Promise<T> {
    for (;;) {
      if (this.#isInitialized) return ready(this.#value as T);
      const turn = this.#turn;
      const permit = await turn.acquire({ signal });
      try {
        // The cell may have been emptied or filled meanwhile.
        if (turn !== this.#turn || this.#isInitialized) continue;
        // The signal may have fired since the permit was granted.
        if (signal?.aborted) throw signal.reason;
        const value = await unlessAborted(init(signal), signal);
        if (turn === this.#turn) {
          this.#value = value;
          this.#isInitialized = true;
        }
        return value;
      } finally {
        permit.release();
      }
    }
  }

  /**
   * Empties the cell. A value that is being made goes to its callers, and is not kept.
   *
   * @returns The value it had, or undefined.
   */
  take(): T | undefined {
    const value = this.#value;
    this.#value = undefined;
    this.#isInitialized = false;
    this.#turn = new Semaphore(1);
    return value;
  }
}

function unlessAborted<T>(value: T | PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return Promise.resolve(value);
  return new Promise<T>((resolve, reject) => {
    const waiter = new CallbackWaiter(reject);
    const leave = (): void => removeAbortListener(signal, waiter);
    Promise.resolve(value).then(resolve, reject).then(leave);
    if (signal.aborted) reject(signal.reason);
    else addAbortListener(signal, waiter);
  });
}
