import { type Clock, type ClockTimer, monotonicNow } from '../../core/index.js';
import type { HostClient } from './host-client.js';

/** A second look comes this much later: what a busy parent had not read yet is read by then. */
const SECOND_LOOK_MS = 500;

/** The shortest silence that means anything, in ms: a quiet worker's watchdog is heard every half second. */
const SILENCE_MS = 2_000;

/** The same before it was ever heard: a busy machine takes its time to start a process. */
const FIRST_SIGN_MS = 10_000;

/** How often is looked while calls are under way. */
const LOOK_MS = 1_000;

/**
 * Tells a hang from a long call. While a host loads or holds calls it is looked at now and then:
 * - progress is an answer, a chunk, or a model call that began or ended (which the host's watchdog sees even during a native call);
 * - a call is overdue when its deadline has passed, or, where it has none, when its caller has given it up;
 * - no progress for `stallTimeoutMs` past the moment something became overdue is a hang, and so are no signs of life at all for as long: a
 *   stopped process, which no deadline is needed for.
 *
 * Nothing is decided at first sight, because the parent's own event loop may have been late.
 */
export class StallDetector {
  readonly #clock: Clock;
  readonly #stallTimeoutMs: number;
  readonly #client: HostClient;
  readonly #lastAnswerAt: () => number;
  readonly #onStall: (reason: string, runningMs: number) => void;
  readonly #lookMs: number;
  #timer: ClockTimer | undefined;
  #isSuspect = false;
  #isStopped = false;
  #counters = '';
  #lastCountAt = 0;

  constructor(
    clock: Clock,
    stallTimeoutMs: number,
    client: HostClient,
    lastAnswerAt: () => number,
    onStall: (reason: string, runningMs: number) => void,
  ) {
    this.#clock = clock;
    this.#stallTimeoutMs = stallTimeoutMs;
    this.#client = client;
    this.#lastAnswerAt = lastAnswerAt;
    this.#onStall = onStall;
    this.#lookMs = Math.max(10, Math.min(LOOK_MS, stallTimeoutMs / 4));
  }

  /** The host loads, or was sent a call: looks from now on, until neither is so. */
  watch(): void {
    if (this.#timer === undefined && !this.#isStopped && Number.isFinite(this.#stallTimeoutMs)) this.#arm(this.#lookMs);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(ms: number): void {
    this.#timer = this.#clock.setTimer(() => this.#look(), ms);
  }

  #look(): void {
    this.#timer = undefined;
    if (this.#client.held.size === 0 && !this.#client.isLoading) {
      this.#isSuspect = false;
      return;
    }
    const finding = this.#examine();
    if (finding === undefined) {
      this.#isSuspect = false;
      this.#arm(this.#lookMs);
    } else if (this.#isSuspect) {
      this.#isStopped = true;
      this.#onStall(finding.reason, finding.runningMs);
    } else {
      this.#isSuspect = true;
      this.#arm(Math.min(SECOND_LOOK_MS, Math.max(50, this.#stallTimeoutMs)));
    }
  }

  #examine(): { readonly reason: string; readonly runningMs: number } | undefined {
    const now = this.#clock.now();
    const { host } = this.#client;
    const seen = host.progress();
    const silentMs = monotonicNow() - (seen?.heardAt ?? host.startedAt);
    if (silentMs >= Math.max(this.#stallTimeoutMs, seen === undefined ? FIRST_SIGN_MS : SILENCE_MS)) {
      return { reason: `it gave no sign of life for ${Math.round(silentMs)} ms`, runningMs: silentMs };
    }
    const counters = `${seen?.value.begun} ${seen?.value.ended}`;
    if (counters !== this.#counters) {
      this.#counters = counters;
      this.#lastCountAt = now;
    } else if (seen !== undefined && seen.value.begun !== seen.value.ended) {
      // No other has begun since the last look: one that keeps the thread may not have been able to say that it was taken.
      this.#client.seenInside(seen.value.latest);
    }
    let overdueSince = Number.POSITIVE_INFINITY;
    let oldest = now;
    for (const { request, abandonedAt } of this.#client.held.values()) {
      const due = request.deadline ?? abandonedAt ?? Number.POSITIVE_INFINITY;
      if (due < overdueSince) overdueSince = due;
      if (request.enteredAt < oldest) oldest = request.enteredAt;
    }
    const since = Math.max(overdueSince, this.#lastAnswerAt(), this.#lastCountAt);
    if (now - since < this.#stallTimeoutMs) return undefined;
    return { reason: `it made no progress for ${Math.round(now - since)} ms past a deadline`, runningMs: now - oldest };
  }
}
