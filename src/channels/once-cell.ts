import { addAbortListener, hide, MillraceError, removeAbortListener, requireFunction } from '../core/index.js';
import { ready, rejected } from './internal/budget.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { Waiter } from './internal/waiters.js';
import { Semaphore } from './semaphore/semaphore.js';

/** {@link OnceCell.set} found a value. The one that was not set is in `value`, hidden from logs. */
export class AlreadyInitializedError<T = unknown> extends MillraceError {
  override readonly code = 'ERR_ONCE_CELL_INITIALIZED';
  override readonly fault = 'caller';
  /** What was not set. */
  declare readonly value: T;

  constructor(message: string, value: T) {
    super(message);
    hide(this, 'value', value);
  }
}

/** {@link OnceCell.set} found an initialiser at work. The value that was not set is in `value`, hidden from logs. */
export class InitializingError<T = unknown> extends MillraceError {
  override readonly code = 'ERR_ONCE_CELL_INITIALIZING';
  override readonly fault = 'caller';
  /** What was not set. */
  declare readonly value: T;

  constructor(message: string, value: T) {
    super(message);
    hide(this, 'value', value);
  }
}

/**
 * A value that is made once, by whoever needs it first.
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
  #initialized = false;
  // One permit: who holds it may initialise. A failed initialiser hands it to the next caller.
  #turn: Semaphore = new Semaphore(1);

  /** A cell that has its value already. */
  static of<T>(value: T): OnceCell<T> {
    const cell = new OnceCell<T>();
    cell.set(value);
    return cell;
  }

  /** Whether there is a value. */
  get isInitialized(): boolean {
    return this.#initialized;
  }

  /** The value, or undefined while there is none. */
  get(): T | undefined {
    return this.#value;
  }

  /**
   * Sets the value.
   *
   * @throws AlreadyInitializedError When there is one.
   * @throws InitializingError While an initialiser runs.
   */
  set(value: T): void {
    if (this.#initialized) throw new AlreadyInitializedError('Cannot set cell: it has a value', value);
    if (this.#turn.availablePermits === 0) {
      throw new InitializingError('Cannot set cell: an initialiser is at work', value);
    }
    this.#value = value;
    this.#initialized = true;
  }

  /**
   * The value, made by the initialiser if there is none.
   *
   * Callers that come while an initialiser runs wait for it. When it fails, its own caller gets the failure and the next one's initialiser
   * runs. A promise or thenable that the initialiser answers is followed; one that was {@link OnceCell.set} is given as it is by
   * {@link OnceCell.get} alone.
   *
   * **Cancel safety:** cancel safe. When the signal of the caller whose initialiser runs fires, the initialiser's signal fires too, what it
   * still answers is dropped, and the next caller's initialiser runs.
   *
   * @param init Makes the value, or a promise of it.
   * @param options.signal Gives the wait up.
   * @throws Whatever this caller's initialiser throws.
   */
  getOrInit(init: (signal: AbortSignal | undefined) => T | PromiseLike<T>, options?: WaitOptions): Promise<T> {
    requireFunction('Cannot initialise cell', 'init', init);
    const signal = signalOf('Cannot initialise cell', options);
    return signal?.aborted ? rejected(signal.reason) : this.#getOrInit(init, signal);
  }

  async #getOrInit(
    init: (signal: AbortSignal | undefined) => T | PromiseLike<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    for (;;) {
      if (this.#initialized) return ready(this.#value as T);
      const turn = this.#turn;
      const permit = await turn.acquire({ signal });
      try {
        // A cell that was emptied meanwhile, or filled by the one before.
        if (turn !== this.#turn || this.#initialized) continue;
        // The signal may have fired since the turn was given.
        if (signal?.aborted) throw signal.reason;
        const value = await unlessAborted(init(signal), signal);
        if (turn === this.#turn) {
          this.#value = value;
          this.#initialized = true;
        }
        return value;
      } finally {
        permit.release();
      }
    }
  }

  /**
   * Empties the cell.
   *
   * @returns The value it had, or undefined. A value that is being made stays its callers' own and is not kept.
   */
  take(): T | undefined {
    const value = this.#value;
    this.#value = undefined;
    this.#initialized = false;
    this.#turn = new Semaphore(1);
    return value;
  }
}

class AbortRace extends Waiter<unknown> {
  readonly #reject: (reason: unknown) => void;

  constructor(reject: (reason: unknown) => void) {
    super();
    this.#reject = reject;
  }

  override deliver(reason: unknown): void {
    this.#reject(reason);
  }

  override end(): void {}
  override fail(): void {}
}

function unlessAborted<T>(value: T | PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return Promise.resolve(value);
  return new Promise<T>((resolve, reject) => {
    const waiter = new AbortRace(reject);
    const leave = (): void => removeAbortListener(signal, waiter);
    Promise.resolve(value).then(resolve, reject).then(leave);
    if (signal.aborted) reject(signal.reason);
    else addAbortListener(signal, waiter);
  });
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_ONCE_CELL_INITIALIZED: AlreadyInitializedError;
    ERR_ONCE_CELL_INITIALIZING: InitializingError;
  }
}
