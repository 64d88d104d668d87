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
import { requireClock, requireInstant } from '../internal/options.js';
import { PromiseWaiter, unlink, Waiter, WaiterList } from '../internal/waiters.js';
import {
  FAILED,
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type Slot,
} from '../select/selectable.js';
import { HostTimerSlot } from './timer.js';

/** How a timer runs. */
export interface TimerOptions {
  /** Whether it holds the process while it is awaited; true by default. */
  readonly ref?: boolean | undefined;
  /** The clock it runs on; the system's by default. */
  readonly clock?: Clock | undefined;
}

/** What {@link sleep} takes. */
export interface SleepOptions extends TimerOptions {
  /** Abandons every wait on it: they reject with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A timer that can be awaited, be an arm of `select`, and be set anew.
 *
 * The time runs from this call; a host timer runs only while somebody waits.
 *
 * **Cancel safety:** cancel safe.
 *
 * @param ms How long, in milliseconds; `Infinity` for ever. What is below 0 counts as 0, so that `sleep(deadline - now)` is right when it is late.
 * @param options Its clock, whether it holds the process, and a signal.
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
 * A timer as that of {@link sleep}, which elapses at a point in time.
 *
 * **Cancel safety:** cancel safe.
 *
 * @param deadline When, in ms on its clock (`clock.now()`, or `systemClock.now()`); `Infinity` for never. One that has passed has elapsed.
 * @param options Its clock, whether it holds the process, and a signal.
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

/** A timer; see {@link sleep}. Awaiting it waits for its deadline. */
export class Sleep implements PromiseLike<undefined>, Selectable<void>, Disposable {
  readonly #core: SleepCore;

  /** @internal */
  constructor(deadline: number, clock: Clock, ref: boolean, signal: AbortSignal | null) {
    this.#core = new SleepCore(deadline, clock, ref, signal);
  }

  /** When it elapses, in ms on its clock. */
  get deadline(): number {
    return this.#core.deadline;
  }

  /** Whether the deadline has passed. */
  get isElapsed(): boolean {
    return this.#core.isElapsed();
  }

  /**
   * Sets it anew, to elapse `ms` milliseconds from now, whether or not it has elapsed. Those who wait wait for the new deadline.
   *
   * @param ms How long, in milliseconds; `Infinity` for ever. What is below 0 counts as 0.
   */
  reset(ms: number): void {
    this.#core.resetAt(this.#core.clock.now() + requireDuration('Cannot reset', 'ms', ms));
  }

  /**
   * Sets it anew, to elapse at a point in time.
   *
   * @param deadline When, in ms on its clock.
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

  /** How `select` looks at it. */
  selectSource(): SelectSource<void> {
    return this.#core;
  }

  /** Ends every wait on it as if it never elapsed: it is set to `Infinity`, and its host timer stops. */
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

  override end(): void {}

  protected override withdraw(): boolean {
    return this.#core.unregister(this);
  }
}

/** Tells those who wait on a timer that its signal has fired. */
class SleepAbort extends Waiter<unknown> {
  readonly #waiters: WaiterList<Waiter<void>>;
  readonly #stop: () => void;

  constructor(waiters: WaiterList<Waiter<void>>, stop: () => void) {
    super();
    this.#waiters = waiters;
    this.#stop = stop;
  }

  override deliver(reason: unknown): void {
    let why = reason;
    try {
      this.#stop();
    } catch (error) {
      why = error;
    }
    this.#waiters.drain((waiter) => waiter.fail(why));
  }

  override end(): void {}

  override fail(): void {}
}

/**
 * Invariant: the host timer runs, and the listener is on the signal, exactly while somebody waits.
 */
class SleepCore implements SelectSource<void> {
  readonly clock: Clock;
  deadline: number;
  readonly #timer: HostTimerSlot;
  readonly #signal: AbortSignal | null;
  readonly #waiters: WaiterList<Waiter<void>> = new WaiterList();
  #abort: SleepAbort | null = null;

  constructor(deadline: number, clock: Clock, ref: boolean, signal: AbortSignal | null) {
    this.clock = clock;
    this.deadline = deadline;
    this.#timer = new HostTimerSlot(clock, ref, () => this.#fire());
    this.#signal = signal;
  }

  isElapsed(): boolean {
    return this.clock.now() >= this.deadline;
  }

  wait(): Promise<undefined> {
    if (this.#signal?.aborted) return rejected(this.#signal.reason);
    try {
      // One that has elapsed still lets others run, as a host timer of 0 ms would.
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
      const abort = new SleepAbort(this.#waiters, () => this.#stop());
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

  #fire(): void {
    this.#stop();
    this.#waiters.drain((waiter) => waiter.deliver());
  }
}
