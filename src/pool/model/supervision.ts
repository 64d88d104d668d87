/** The rules of supervision: what the end of a worker says, when the next may be started, how long a run may keep its thread. */
import type { Clock } from '../../core/index.js';
import type { WorkerCrashedError } from '../../worker/index.js';

const OWN_SIGNALS = new Set(['SIGSEGV', 'SIGABRT', 'SIGILL', 'SIGBUS', 'SIGFPE', 'SIGTRAP', 'SIGSYS']);

/** Whether a worker was ended by a signal while it loaded, and its host knows no reason: from outside, most often. */
export function wasKilled(error: unknown): boolean {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: WorkerCrashedError };
  return (
    code === 'ERR_WORKER_LOAD' &&
    cause?.code === 'ERR_WORKER_CRASHED' &&
    cause.signal !== null &&
    cause.cause === undefined
  );
}

/** Whether a worker that was ended by a signal while it loaded has brought it on itself. */
export function hasFaulted(error: unknown): boolean {
  return OWN_SIGNALS.has((error as { cause: { signal: string } }).cause.signal);
}

/** Whether a worker's loop has returned and nothing failed: a closed handle without a cause. */
export function isPlainEnd(error: unknown): boolean {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  return error === undefined || (code === 'ERR_WORKER_CLOSED' && cause === undefined);
}

/** The error that a worker ended with, out of the one that says that it has ended. */
export function unwrapClosed(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  return code === 'ERR_WORKER_CLOSED' && cause !== undefined ? cause : error;
}

const LONGEST_FACTOR = 60;
const WINDOW_MS = 60_000;
/** How long a start waits once more workers died young than the budget allows, in ms. */
const SLOW_MS = 5_000;

/**
 * When the next worker may be started, after loads that failed and workers that died young: while they loaded, or before their first answer. A worker
 * that has answered shows that starts go well, so its death delays nothing.
 */
export class StartBackOff {
  readonly #clock: Clock;
  readonly #baseMs: number;
  readonly #budget: number;
  #failures = 0;
  #diedAt: number[] = [];
  #provedAt = Number.NEGATIVE_INFINITY;
  #notBeforeByLoads = Number.NEGATIVE_INFINITY;
  #notBeforeByDeaths = Number.NEGATIVE_INFINITY;

  /** @param budget How many may die young within a minute before starts are slow. */
  constructor(clock: Clock, baseMs: number, budget: number) {
    this.#clock = clock;
    this.#baseMs = baseMs;
    this.#budget = budget;
  }

  /** No worker may be started before this, in ms on the clock. */
  get notBefore(): number {
    return Math.max(this.#notBeforeByLoads, this.#notBeforeByDeaths);
  }

  /** How long that is from now, in ms; 0 when one may be started. */
  get remainingMs(): number {
    return Math.max(0, this.notBefore - this.#clock.now());
  }

  /** A worker could not be started: the next waits twice as long as after the last failure. */
  loadFailed(): number {
    this.#failures += 1;
    const waitMs = this.#baseMs * Math.min(2 ** (this.#failures - 1), LONGEST_FACTOR);
    this.#notBeforeByLoads = Math.max(this.#notBeforeByLoads, this.#clock.now() + waitMs);
    return waitMs;
  }

  loaded(): void {
    this.#failures = 0;
  }

  /** A new worker has answered for the first time. */
  proved(): void {
    this.#diedAt = [];
    this.#provedAt = this.#clock.now();
    this.#notBeforeByDeaths = Number.NEGATIVE_INFINITY;
  }

  /**
   * A worker died young. As many as the budget allows within a minute are replaced at once, one after that every five seconds. As long as others prove
   * that it can be done, whatever kills workers kills some of them only: the budget is then renewed with each of these pauses.
   *
   * @returns Whether the budget is spent.
   */
  diedYoung(): boolean {
    const now = this.#clock.now();
    this.#diedAt = this.#diedAt.filter((at) => at > now - WINDOW_MS);
    this.#diedAt.push(now);
    if (this.#diedAt.length <= this.#budget) return false;
    this.#notBeforeByDeaths = Math.max(this.#notBeforeByDeaths, now + SLOW_MS);
    if (this.#provedAt > now - WINDOW_MS) this.#diedAt = [];
    return true;
  }
}

/** Measured durations of a model. */
export interface MeasuredTimes {
  /** How many calls were answered. */
  readonly answers: number;
  /** The 99th percentile of the time that answers took inside a worker, of the slowest operation, in ms; undefined before the first. */
  readonly p99Ms: number | undefined;
  /** What the longest load took, a run of one item included, in ms; undefined before the first. */
  readonly loadMs: number | undefined;
  /** The most items in one run. */
  readonly maxBatch: number;
}

const SHORTEST_BLOCKED_MS = 2_000;
const LONGEST_BLOCKED_MS = 30_000;
/** How many times the 99th percentile a run must take, at least, to be taken for a hang. */
const HANG_FACTOR = 4;
/** From how many answers on they say how long runs take. */
const ENOUGH_ANSWERS = 20;

/**
 * How long one run of a model may keep its worker's thread past a deadline, in ms. Answers may have been those of single items, so a batch is allowed as
 * many times theirs as it has items; and before there are enough of them, as many times the load, which has run one.
 */
export function blockedLimitMs({ answers, p99Ms = 0, loadMs, maxBatch }: MeasuredTimes): number {
  if (loadMs === undefined) return LONGEST_BLOCKED_MS;
  const byAnswers = Math.max(HANG_FACTOR, maxBatch) * p99Ms;
  const byLoad = answers >= ENOUGH_ANSWERS ? 0 : maxBatch * loadMs;
  return Math.min(LONGEST_BLOCKED_MS, Math.max(SHORTEST_BLOCKED_MS, byAnswers, byLoad));
}
