import {
  type Clock,
  type Filled,
  fillOptions,
  numberFrom,
  type OptionTable,
  option,
  requireClock,
  required,
  requireMilliseconds,
  requirePositiveInteger,
} from '../core/index.js';

/** The states of a circuit breaker. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** The moves a circuit breaker can make. */
export const breakerTransitions: Readonly<Record<BreakerState, readonly BreakerState[]>> = {
  closed: ['open'],
  open: ['half-open'],
  'half-open': ['closed', 'open'],
};

/** What opens a breaker and what closes it. */
export interface BreakerRules {
  /** How many failures the window must hold at least: fewer say nothing, whatever their share. */
  readonly failures: number;
  /** Which share of the calls that ended within the window must have failed, above 0 and at most 1. 0.5 by default. */
  readonly failureRate?: number | undefined;
  /** The rolling window, in ms. */
  readonly windowMs: number;
  /** How long it stays open, in ms. */
  readonly openMs: number;
  /** How many calls are let through when half-open; all must succeed. */
  readonly probes: number;
}

const BREAKER_RULES = {
  failures: required(requirePositiveInteger),
  failureRate: option(requireFailureRate, 0.5),
  windowMs: required(requireMilliseconds),
  openMs: required(requireMilliseconds),
  probes: required(requirePositiveInteger),
} satisfies OptionTable<BreakerRules>;

function requireFailureRate(action: string, name: string, value: unknown): number {
  if (value === 0) throw new RangeError(`${action}: ${name} must be above 0, received 0`);
  return numberFrom(0, 1)(action, name, value);
}

/** Checks the rules of a breaker and fills them; `path` goes before their names in messages. */
export function requireBreakerRules(action: string, rules: BreakerRules, path: string = ''): Filled<BreakerRules> {
  return fillOptions(action, rules, BREAKER_RULES, path);
}

/** Into how many parts the window is divided; it moves on by one part at a time. */
const SLICES = 10;

/** A call that the breaker let through, to be settled once; settling it again does nothing. */
export interface BreakerTicket {
  /** The model answered. */
  success(): void;
  /** The model failed, or ran out of time. */
  failure(): void;
  /** The call ended without telling anything about the model: bad input, an abort, a shutdown. */
  neutral(): void;
}

type Ending = keyof BreakerTicket;

class Ticket implements BreakerTicket {
  #breaker: CircuitBreaker | undefined;
  readonly #epoch: number;

  constructor(breaker: CircuitBreaker, epoch: number) {
    this.#breaker = breaker;
    this.#epoch = epoch;
  }

  success(): void {
    this.#settle('success');
  }

  failure(): void {
    this.#settle('failure');
  }

  neutral(): void {
    this.#settle('neutral');
  }

  #settle(ending: Ending): void {
    const breaker = this.#breaker;
    this.#breaker = undefined;
    breaker?.settle(this.#epoch, ending);
  }
}

/** The calls that ended in one part of the window. */
interface Slice {
  /** Which part of time, counted from the clock's origin. */
  index: number;
  calls: number;
  failures: number;
}

/**
 * A circuit breaker: closed, open for a while after too large a share of the calls failed, then half-open with an exact number of probes.
 *
 * It opens when the window holds at least `failures` failures and they are at least `failureRate` of the calls that ended in it, neutral ends left
 * out: five failures beside two thousand successes open nothing.
 *
 * Invariants: while half-open, probes that are out plus probes that succeeded never exceed `probes`, and a neutral end gives its probe back; a
 * ticket from before the last change of state changes nothing, so stragglers of a bad minute neither close nor open it. No timer: open
 * turns half-open when it is next looked at.
 *
 * @example
 * ```ts
 * const clock = new SimulatedClock();
 * const breaker = new CircuitBreaker({ failures: 1, windowMs: 1_000, openMs: 500, probes: 1 }, clock);
 * breaker.admit()?.failure();
 * breaker.admit(); // => undefined
 * await clock.advance(500);
 * breaker.state; // => 'half-open'
 * breaker.admit()?.success();
 * breaker.state; // => 'closed'
 * ```
 */
export class CircuitBreaker {
  readonly #rules: Filled<BreakerRules>;
  readonly #clock: Clock;
  readonly #onChange: (from: BreakerState, to: BreakerState) => void;
  #state: BreakerState = 'closed';
  // Counts the changes of state: a ticket is void once it has moved on.
  #epoch = 0;
  #openedAt = 0;
  // A ring: the slice of a time is at its index modulo the length.
  readonly #slices: readonly Slice[] = Array.from({ length: SLICES }, () => ({ index: -1, calls: 0, failures: 0 }));
  #probesOut = 0;
  #probesWon = 0;

  /**
   * @param rules All but `failureRate`, which may be left out; unknown keys are refused.
   * @param clock The time source.
   * @param onChange Told of every change of state.
   * @throws TypeError, RangeError When a rule is of the wrong type, out of range, missing or unknown.
   */
  constructor(rules: BreakerRules, clock: Clock, onChange: (from: BreakerState, to: BreakerState) => void = () => {}) {
    const action = 'Cannot create circuit breaker';
    this.#rules = requireBreakerRules(action, rules);
    this.#clock = requireClock(action, 'clock', clock);
    this.#onChange = onChange;
  }

  /** The state now; an open breaker whose time is over reads half-open. */
  get state(): BreakerState {
    if (this.#state === 'open' && this.#clock.now() >= this.#openedAt + this.#rules.openMs) this.#become('half-open');
    return this.#state;
  }

  /** In how many ms it lets the next call through at the earliest. */
  get retryAfterMs(): number {
    if (this.state !== 'open') return 0;
    return this.#openedAt + this.#rules.openMs - this.#clock.now();
  }

  /** Lets a call through, or answers undefined. */
  admit(): BreakerTicket | undefined {
    const state = this.state;
    if (state === 'open') return undefined;
    if (state === 'half-open') {
      if (this.#probesOut + this.#probesWon >= this.#rules.probes) return undefined;
      this.#probesOut += 1;
    }
    return new Ticket(this, this.#epoch);
  }

  /** Counts a failure that belongs to no call, such as a failed load. */
  recordFailure(): void {
    if (this.state === 'closed') this.#count(true);
    else if (this.#state === 'half-open') this.#become('open');
  }

  /**
   * Settles what a ticket let through.
   *
   * @internal
   */
  settle(epoch: number, outcome: Ending): void {
    if (epoch !== this.#epoch) return;
    if (this.#state === 'closed') {
      if (outcome !== 'neutral') this.#count(outcome === 'failure');
      return;
    }
    this.#probesOut -= 1;
    if (outcome === 'failure') this.#become('open');
    else if (outcome === 'success') {
      this.#probesWon += 1;
      if (this.#probesWon >= this.#rules.probes) this.#become('closed');
    }
  }

  #count(isFailure: boolean): void {
    const index = Math.floor((this.#clock.now() * SLICES) / Math.max(this.#rules.windowMs, 1));
    const slice = this.#slices[((index % SLICES) + SLICES) % SLICES] as Slice;
    if (slice.index !== index) {
      slice.index = index;
      slice.calls = 0;
      slice.failures = 0;
    }
    slice.calls += 1;
    if (!isFailure) return;
    slice.failures += 1;
    let calls = 0;
    let failures = 0;
    for (const each of this.#slices) {
      if (each.index <= index - SLICES) continue;
      calls += each.calls;
      failures += each.failures;
    }
    if (failures >= this.#rules.failures && failures >= this.#rules.failureRate * calls) this.#become('open');
  }

  #become(next: BreakerState): void {
    const previous = this.#state;
    this.#state = next;
    this.#epoch += 1;
    for (const slice of this.#slices) slice.calls = slice.failures = 0;
    this.#probesOut = 0;
    this.#probesWon = 0;
    if (next === 'open') this.#openedAt = this.#clock.now();
    this.#onChange(previous, next);
  }
}
