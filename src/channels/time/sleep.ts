import {
  addAbortListener,
  removeAbortListener,
  type Clock,
  requireBoolean,
  requireDuration,
  requireOptions,
  requireSignal,
  scheduleMacrotask,
  systemClock,
} from '../../core/index.js';
import { rejected } from '../internal/budget.js';
import { requireClock, requireInstant } from '../internal/wait.js';
import { CallbackWaiter, PromiseWaiter, unlink, type Waiter, WaiterList } from '../internal/waiters.js';
import {
  FAILED,
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type Slot,
} from '../select/selectable.js';
import { type TimerOptions, TimerSlot } from './timer.js';

/** The options of {@link sleep}. */
export interface SleepOptions extends TimerOptions {
  /** Abandons every wait on the timer: they reject with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts a timer that can be awaited, be an arm of `select`, and be reset.
 *
 * The time runs from this call; a host timer runs only while the timer is awaited.
 *
 * **Cancel safety:** cancel safe.
 *
 * @param ms The duration in milliseconds; `Infinity` for ever. A negative duration counts as 0, so that `sleep(deadline - now)` may be late.
 * @param options The clock, whether the timer holds the process, and a signal.
 * @example
 * ```ts
 * const clock = new SimulatedClock();
 * const idle = sleep(300_000, { clock });
 * await clock.advance(200_000);
 * idle.reset(300_000);
 * await clock.advance(200_000);
 * idle.isElapsed; // => false
 * await clock.advance(100_000);
 * idle.isElapsed; // => true
 * ```
 */
export function sleep(ms: number, options?: SleepOptions): Sleep {
  const action = 'Cannot sleep';
  const duration = requireDuration(action, 'ms', ms);
  const { ref, clock, signal } = requireSleepOptions(action, options);
  return new Sleep(clock.now() + duration, clock, ref, signal);
}

/**
 * Starts a timer, as {@link sleep} does, that elapses at a point in time.
 *
 * **Cancel safety:** cancel safe.
 *
 * @param deadline The time in ms on its clock (`clock.now()`, or `systemClock.now()`); `Infinity` for never. It may have passed.
 * @param options The clock, whether the timer holds the process, and a signal.
 * @example
 * ```ts
 * const clock = new SimulatedClock(1_000);
 * const lunch = sleepUntil(1_500, { clock });
 * await clock.advance(499);
 * lunch.isElapsed; // => false
 * await clock.advance(1);
 * lunch.isElapsed; // => true
 * ```
 */
export function sleepUntil(deadline: number, options?: SleepOptions): Sleep {
  const action = 'Cannot sleep';
  requireInstant(action, 'deadline', deadline);
  const { ref, clock, signal } = requireSleepOptions(action, options);
  return new Sleep(deadline, clock, ref, signal);
}

function requireSleepOptions(
  action: string,
  options: SleepOptions | undefined,
): { readonly ref: boolean; readonly clock: Clock; readonly signal: AbortSignal | null } {
  const { ref = true, clock = systemClock, signal } = requireOptions(action, options, ['ref', 'clock', 'signal']);
  requireBoolean(action, 'ref', ref);
  requireClock(action, clock);
  if (signal !== undefined) requireSignal(action, signal);
  return { ref, clock, signal: signal ?? null };
}

/** A timer; see {@link sleep}. `await` waits for its deadline. */
export class Sleep implements PromiseLike<undefined>, Selectable<void>, Disposable {
  readonly #core: SleepCore;

  /** @internal */
  constructor(deadline: number, clock: Clock, ref: boolean, signal: AbortSignal | null) {
    this.#core = new SleepCore(deadline, clock, ref, signal);
  }

  /** The time at which it elapses, in ms on its clock. */
  get deadline(): number {
    return this.#core.deadline;
  }

  /** Whether the deadline has passed. */
  get isElapsed(): boolean {
    return this.#core.isElapsed();
  }

  /**
   * Resets the timer to elapse `ms` milliseconds from now, whether or not it has elapsed. Pending waits wait for the new deadline.
   *
   * @param ms The duration in milliseconds; `Infinity` for ever. A negative duration counts as 0.
   */
  reset(ms: number): void {
    this.#core.resetAt(this.#core.clock.now() + requireDuration('Cannot reset', 'ms', ms));
  }

  /**
   * Resets the timer to elapse at a point in time.
   *
   * @param deadline The time in ms on its clock.
   */
  resetAt(deadline: number): void {
    requireInstant('Cannot reset', 'deadline', deadline);
    this.#core.resetAt(deadline);
  }

  /**
   * Waits for the deadline, as `await` does.
   *
   * **Cancel safety:** cancel safe.
   */
  then<A = undefined, B = never>(
    onElapsed?: ((value: undefined) => A | PromiseLike<A>) | null,
    onFailed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#core
      .wait()
      .then(() => undefined)
      .then(onElapsed, onFailed);
  }

  /** The timer as an arm of `select`. */
  selectSource(): SelectSource<void> {
    return this.#core;
  }

  /** Resets the timer to `Infinity`, and stops its host timer. Pending waits stay pending. */
  [Symbol.dispose](): void {
    this.#core.resetAt(Number.POSITIVE_INFINITY);
  }
}

class SleepWaiter extends PromiseWaiter<void, undefined> {
  readonly #core: SleepCore;

  constructor(core: SleepCore) {
    super();
    this.#core = core;
  }

  override deliver(): void {
    this.resolve(undefined);
  }

  protected override withdraw(): boolean {
    return this.#core.unregister(this);
  }
}

/**
 * Invariant: the host timer runs, and the listener is on the signal, exactly while the list of waiters is not empty.
 */
class SleepCore implements SelectSource<void> {
  readonly clock: Clock;
  deadline: number;
  readonly #timer: TimerSlot;
  readonly #signal: AbortSignal | null;
  readonly #waiters: WaiterList<Waiter<void>> = new WaiterList();
  #abort: CallbackWaiter<unknown> | null = null;

  constructor(deadline: number, clock: Clock, ref: boolean, signal: AbortSignal | null) {
    this.clock = clock;
    this.deadline = deadline;
    this.#timer = new TimerSlot(clock, ref, () => this.#fire());
    this.#signal = signal;
  }

  isElapsed(): boolean {
    return this.clock.now() >= this.deadline;
  }

  wait(): Promise<undefined> {
    if (this.#signal?.aborted) return rejected(this.#signal.reason);
    try {
      // A timer that has elapsed still lets other tasks run, as a host timer of 0 ms would.
      if (this.isElapsed()) return new Promise((resolve) => scheduleMacrotask(() => resolve(undefined)));
      const waiter = new SleepWaiter(this);
      this.register(waiter);
      return waiter.promise;
    } catch (error) {
      return rejected(error);
    }
  }

  resetAt(deadline: number): void {
    if (this.#waiters.head !== null) this.#timer.start(deadline);
    this.deadline = deadline;
  }

  poll(slot: Slot): Poll {
    if (this.#signal?.aborted) {
      slot.value = this.#signal.reason;
      return FAILED;
    }
    if (!this.isElapsed()) return PENDING;
    slot.value = undefined;
    return READY;
  }

  register(waiter: Waiter<void>): void {
    const first = this.#waiters.head === null;
    if (first && this.#signal !== null) {
      const abort = new CallbackWaiter<unknown>((reason) => this.#onAbort(reason));
      addAbortListener(this.#signal, abort);
      this.#abort = abort;
    }
    this.#waiters.push(waiter);
    try {
      if (first) this.#timer.start(this.deadline);
    } catch (error) {
      this.unregister(waiter);
      throw error;
    }
  }

  unregister(waiter: Waiter<void>): boolean {
    if (!unlink(waiter)) return false;
    if (this.#waiters.head === null) this.#stop();
    return true;
  }

  isEnded(): boolean {
    return false;
  }

  #stop(): void {
    if (this.#abort !== null) removeAbortListener(this.#signal as AbortSignal, this.#abort);
    this.#abort = null;
    this.#timer.stop();
  }

  #onAbort(reason: unknown): void {
    let why = reason;
    try {
      this.#stop();
    } catch (error) {
      why = error;
    }
    this.#waiters.drain((waiter) => waiter.fail(why));
  }

  #fire(): void {
    this.#stop();
    this.#waiters.drain((waiter) => waiter.deliver());
  }
}
