import {
  type Clock,
  requireBoolean,
  requireDuration,
  requireMilliseconds,
  requireOneOf,
  requireOptions,
  systemClock,
} from '../../core/index.js';
import { ready, rejected } from '../internal/budget.js';
import { signalOf, type WaitOptions, requireClock, requireInstant } from '../internal/wait.js';
import { PromiseWaiter, unlink, type Waiter, WaiterList } from '../internal/waiters.js';
import { PENDING, type Poll, READY, type Selectable, type SelectSource, type Slot } from '../select/selectable.js';
import { type TimerOptions, TimerSlot } from './timer.js';

/**
 * The treatment of missed ticks, which were not taken in time:
 * - `'burst'`: all of them come at once, until the interval has caught up;
 * - `'delay'`: one comes at once, the next a period after it;
 * - `'skip'`: one comes at once, the next at the next multiple of the period.
 */
export type MissedTickBehavior = 'burst' | 'delay' | 'skip';

/** The options of {@link interval}. */
export interface IntervalOptions extends TimerOptions {
  /** The treatment of missed ticks; `'burst'` by default. */
  readonly missedTickBehavior?: MissedTickBehavior | undefined;
  /** The time of the first tick, in ms on the clock; now by default. */
  readonly startAt?: number | undefined;
}

// As in tokio: a tick that is late by less was not missed.
const TOLERANCE_MS = 5;

/**
 * Starts a timer that ticks. The first tick comes at once.
 *
 * As an arm of `select` it wins with a tick. A host timer runs only while a tick is awaited.
 *
 * @param period The time between two ticks, in milliseconds, more than 0.
 * @param options The treatment of missed ticks, the time of the first tick, the clock, and whether the timer holds the process.
 * @throws RangeError When the period is not a positive, finite number.
 * @example
 * ```ts
 * const clock = new SimulatedClock(1_000);
 * const ticks = interval(100, { clock });
 * await ticks.tick(); // => 1_000
 * const second = ticks.tick();
 * await clock.advance(100);
 * await second; // => 1_100
 * ```
 */
export function interval(period: number, options?: IntervalOptions): Interval {
  const action = 'Cannot create interval';
  requireMilliseconds(action, 'period', period);
  if (period === 0) throw new RangeError(`${action}: period must be more than 0 ms, received 0`);
  const { ref, clock, missedTickBehavior, startAt } = requireOptions(action, options, [
    'ref',
    'clock',
    'missedTickBehavior',
    'startAt',
  ]);
  if (ref !== undefined) requireBoolean(action, 'ref', ref);
  if (clock !== undefined) requireClock(action, clock);
  if (missedTickBehavior !== undefined) {
    requireOneOf(action, 'missedTickBehavior', missedTickBehavior, ['burst', 'delay', 'skip']);
  }
  if (startAt !== undefined) requireInstant(action, 'startAt', startAt);
  const runsOn = clock ?? systemClock;
  return new Interval(period, startAt ?? runsOn.now(), missedTickBehavior ?? 'burst', runsOn, ref ?? true);
}

/** A timer that ticks; see {@link interval}. */
export class Interval implements Selectable<number>, Disposable {
  /** The time between two ticks, in milliseconds. */
  readonly period: number;
  readonly #core: IntervalCore;

  /** @internal */
  constructor(period: number, start: number, missed: MissedTickBehavior, clock: Clock, ref: boolean) {
    this.period = period;
    this.#core = new IntervalCore(period, start, missed, clock, ref);
  }

  /** The treatment of missed ticks. */
  get missedTickBehavior(): MissedTickBehavior {
    return this.#core.missed;
  }

  set missedTickBehavior(behavior: MissedTickBehavior) {
    this.#core.missed = requireOneOf('Cannot set', 'missedTickBehavior', behavior, ['burst', 'delay', 'skip']);
  }

  /**
   * Waits for the next tick. Concurrent waits get one tick each.
   *
   * **Cancel safety:** cancel safe. An aborted wait leaves the tick for the next.
   *
   * @param options A signal that abandons the wait.
   * @returns The time at which the tick was due, in ms on the clock.
   */
  tick(options?: WaitOptions): Promise<number> {
    const signal = signalOf('Cannot wait for a tick', options);
    if (signal?.aborted) return rejected(signal.reason);
    return this.#core.wait(signal);
  }

  /** Sets the next tick to a period from now. */
  reset(): void {
    this.#core.restart(this.#core.clock.now() + this.period);
  }

  /** Sets the next tick to now. */
  resetImmediately(): void {
    this.#core.restart(this.#core.clock.now());
  }

  /**
   * Sets the next tick to `ms` from now.
   *
   * @param ms The delay in milliseconds; it may exceed the period. A negative delay counts as 0.
   */
  resetAfter(ms: number): void {
    this.#core.restart(this.#core.clock.now() + requireDuration('Cannot reset', 'ms', ms));
  }

  /**
   * Sets the next tick to a point in time.
   *
   * @param instant The time in ms on its clock; it may lie beyond the period.
   */
  resetAt(instant: number): void {
    this.#core.restart(requireInstant('Cannot reset', 'instant', instant));
  }

  /** The interval as an arm of `select`. */
  selectSource(): SelectSource<number> {
    return this.#core;
  }

  /** Stops the interval and its host timer: no tick comes any more. */
  [Symbol.dispose](): void {
    this.#core.restart(Number.POSITIVE_INFINITY);
  }
}

class TickWaiter extends PromiseWaiter<number, number> {
  readonly #core: IntervalCore;

  constructor(core: IntervalCore) {
    super();
    this.#core = core;
  }

  override deliver(value: number): void {
    this.resolve(value);
  }

  override onAbort(reason: unknown): void {
    try {
      super.onAbort(reason);
    } catch (error) {
      this.fail(error);
    }
  }

  protected override withdraw(): boolean {
    return this.#core.unregister(this);
  }
}

/** Invariant: the host timer runs exactly while the list of waiters is not empty, and is set for the next tick. */
class IntervalCore implements SelectSource<number> {
  readonly clock: Clock;
  missed: MissedTickBehavior;
  readonly #period: number;
  readonly #timer: TimerSlot;
  readonly #waiters: WaiterList<Waiter<number>> = new WaiterList();
  #next: number;

  constructor(period: number, start: number, missed: MissedTickBehavior, clock: Clock, ref: boolean) {
    this.#period = period;
    this.#next = start;
    this.missed = missed;
    this.clock = clock;
    this.#timer = new TimerSlot(clock, ref, () => this.#fire());
  }

  wait(signal: AbortSignal | undefined): Promise<number> {
    try {
      // Waits are served in order.
      if (this.#waiters.head === null && this.clock.now() >= this.#next) return ready(this.#take());
      const waiter = new TickWaiter(this);
      this.register(waiter);
      return waiter.until(signal);
    } catch (error) {
      return rejected(error);
    }
  }

  restart(next: number): void {
    if (this.#waiters.head !== null) this.#timer.start(next);
    this.#next = next;
  }

  poll(slot: Slot): Poll {
    if (this.clock.now() < this.#next) return PENDING;
    slot.value = this.#take();
    return READY;
  }

  register(waiter: Waiter<number>): void {
    const first = this.#waiters.head === null;
    this.#waiters.push(waiter);
    try {
      if (first) this.#timer.start(this.#next);
    } catch (error) {
      unlink(waiter);
      throw error;
    }
  }

  unregister(waiter: Waiter<number>): boolean {
    if (!unlink(waiter)) return false;
    if (this.#waiters.head === null) this.#timer.stop();
    return true;
  }

  isEnded(): boolean {
    return false;
  }

  #take(): number {
    const due = this.#next;
    const now = this.clock.now();
    const period = this.#period;
    if (now <= due + TOLERANCE_MS || this.missed === 'burst') this.#next = due + period;
    else if (this.missed === 'delay') this.#next = now + period;
    else this.#next = now + period - ((now - due) % period);
    return due;
  }

  #fire(): void {
    try {
      while (this.#waiters.head !== null && this.clock.now() >= this.#next) {
        const due = this.#take();
        this.#waiters.shift()?.deliver(due);
      }
      if (this.#waiters.head !== null) this.#timer.start(this.#next);
    } catch (error) {
      // No other event would settle these waits.
      this.#waiters.drain((waiter) => waiter.fail(error));
    }
  }
}
