import { type Clock, type ClockTimer, monotonicNow } from '../../core/index.js';
import type { Request } from '../request.js';
import { inNeutralContext } from '../trace.js';
import type { Host } from './host.js';

/** A second look comes this much later: what a busy parent had not read yet is read by then. */
const SECOND_LOOK_MS = 500;

/** The same where the host was asked whether its loop turns, which takes it longer to say on a busy machine. */
const ANSWER_MS = 1_000;

/** How long a watchdog may be silent before it is looked at again, in ms: that of a quiet worker is heard every half second, a busy one's every tenth. */
const SILENCE_MS = 1_500;

/** How long before others are given what comes. */
const PASSED_OVER_MS = 1_000;

/** How long the first sign of a host that loads may take: a busy machine takes its time to start a process. Plug'n'Play reads its archives first. */
const FIRST_SIGN_MS: number = 'pnp' in process.versions ? 60_000 : 10_000;

/** How long a host may be silent that was not stopped, in ms: on an overloaded machine its watchdog waits for a core, too. */
const STARVED_MS = 10_000;

/** The same before its first sign. */
const STARVED_START_MS = 30_000;

/** How often is looked while calls are under way. */
const LOOK_MS = 500;

/** How long a host may go without progress. */
export interface StallLimits {
  /** Past a deadline, whatever it does, in ms. `Infinity` for a host that is never killed, also not for its silence. */
  readonly stallTimeoutMs: number;
  /** Past a deadline, while its thread is kept by one call, in ms: asked for each time. Counts where it is less than the other. */
  readonly blockedTimeoutMs: () => number;
}

/** A watched host, and the calls that it holds. */
export interface WatchedHost {
  readonly host: Host;
  readonly isLoading: boolean;
  /** When it said that its model is loaded, in ms of `monotonicNow`: a sign of life, which its watchdog's first may follow. */
  readonly readyAt: number | undefined;
  readonly held: ReadonlyMap<number, Request>;
  /** When it last answered, in ms on the worker's clock. */
  readonly lastAnswerAt: number;
  /** Asks its event loop whether it turns; undefined when it ends. */
  ping(): Promise<unknown>;
  /** A call is inside the model, by another sign than the host's word, for which it may not have the time. */
  seenInside(id: number): void;
}

interface Finding {
  readonly reason: string;
  readonly runningMs: number;
  /** Whether it holds only for a host whose loop does not turn. */
  readonly isOfBlocked?: boolean | undefined;
  /** Until when it holds only for a host that was stopped, in ms of silence; undefined when it is of something else. */
  readonly starvedMs?: number;
}

/**
 * Tells a hang from a long call. While a host loads or holds calls it is looked at now and then:
 * - progress is an answer, a chunk, or a model call that began or ended (which the host's watchdog sees even during a native call);
 * - a call is overdue when its deadline has passed, or its caller has given it up;
 * - no progress for `stallTimeoutMs` past the moment something became overdue is a hang. So is less, `blockedTimeoutMs`, where the host's loop does not
 *   answer either: a native call keeps its thread. One that decodes or waits for a server answers;
 * - a watchdog that is silent is that of a stopped process, unless the system says that the process was not stopped: then it is starved, and has longer.
 *   No deadline is needed for it, and no call: a stopped host that was asked for is looked at, too.
 *
 * Nothing is decided at first sight, because the parent's own event loop may have been late.
 */
export class StallDetector {
  readonly #clock: Clock;
  readonly #limits: StallLimits;
  readonly #client: WatchedHost;
  readonly #onStall: (reason: string, runningMs: number) => void;
  readonly #lookMs: number;
  #timer: ClockTimer | undefined;
  #isSuspect = false;
  #isStopped = false;
  /** Whether it is looked at though it holds nothing. */
  #isAsked = false;
  #doesTurn = false;
  #isStarved = false;
  #counters = '';
  #lastCountAt = 0;

  constructor(
    clock: Clock,
    limits: StallLimits,
    client: WatchedHost,
    onStall: (reason: string, runningMs: number) => void,
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#client = client;
    this.#onStall = onStall;
    this.#lookMs = Math.max(10, Math.min(LOOK_MS, limits.stallTimeoutMs / 4));
  }

  /** The host loads, or was sent a call: looks from now on, until neither is so. */
  watch(): void {
    const { stallTimeoutMs } = this.#limits;
    if (this.#timer === undefined && !this.#isStopped && Number.isFinite(stallTimeoutMs)) this.#arm(this.#lookMs);
  }

  /** Whether the host has given no sign of life for a second. If so it is looked at from now on, until it has. */
  isSilent(): boolean {
    if (this.#client.isLoading || this.#silentMs() < PASSED_OVER_MS) return false;
    this.#isAsked = true;
    this.watch();
    return true;
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(ms: number): void {
    this.#timer = inNeutralContext(() => this.#clock.setTimer(() => this.#look(), ms));
  }

  #look(): void {
    this.#timer = undefined;
    const isBusy = this.#client.held.size > 0 || this.#client.isLoading;
    if (!isBusy && !this.#isAsked) {
      this.#isSuspect = false;
      return;
    }
    const finding = this.#examine();
    if (finding === undefined || (this.#isSuspect && finding.isOfBlocked && this.#doesTurn)) {
      this.#isSuspect = false;
      this.#isAsked = false;
      if (isBusy) this.#arm(this.#lookMs);
    } else if (this.#isSuspect && this.#isStarved && finding.runningMs < (finding.starvedMs ?? 0)) {
      this.#askWhetherItStarves();
      this.#arm(SECOND_LOOK_MS);
    } else if (this.#isSuspect) {
      this.#isStopped = true;
      this.#onStall(finding.reason, finding.runningMs);
    } else {
      this.#isSuspect = true;
      if (finding.isOfBlocked) this.#askWhetherItTurns();
      if (finding.starvedMs !== undefined) this.#askWhetherItStarves();
      const { stallTimeoutMs } = this.#limits;
      this.#arm(finding.isOfBlocked ? ANSWER_MS : Math.min(SECOND_LOOK_MS, Math.max(50, stallTimeoutMs)));
    }
  }

  #askWhetherItTurns(): void {
    this.#doesTurn = false;
    void this.#client.ping().then((health) => {
      if (health !== undefined) this.#doesTurn = true;
    });
  }

  #askWhetherItStarves(): void {
    this.#isStarved = false;
    void this.#client.host.isStarved?.().then((isStarved) => {
      if (isStarved === true) this.#isStarved = true;
    });
  }

  #silentMs(): number {
    const { host, readyAt } = this.#client;
    return monotonicNow() - Math.max(host.progress()?.heardAt ?? host.startedAt, readyAt ?? Number.NEGATIVE_INFINITY);
  }

  #examine(): Finding | undefined {
    const now = this.#clock.now();
    const { host, isLoading } = this.#client;
    const seen = host.progress();
    const silentMs = this.#silentMs();
    const isStarting = isLoading && seen === undefined;
    if (silentMs >= (isStarting ? FIRST_SIGN_MS : SILENCE_MS)) {
      const starvedMs = isStarting ? STARVED_START_MS : STARVED_MS;
      return { reason: `gave no sign of life for ${Math.round(silentMs)} ms`, runningMs: silentMs, starvedMs };
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
    for (const request of this.#client.held.values()) {
      overdueSince = Math.min(overdueSince, request.deadline ?? overdueSince, request.goneAt ?? overdueSince);
      if (request.enteredAt < oldest) oldest = request.enteredAt;
    }
    const quietMs = now - Math.max(overdueSince, this.#client.lastAnswerAt, this.#lastCountAt);
    const runningMs = now - oldest;
    const { stallTimeoutMs, blockedTimeoutMs } = this.#limits;
    if (quietMs >= stallTimeoutMs) {
      return { reason: `made no progress for ${Math.round(quietMs)} ms past a deadline`, runningMs };
    }
    // Before the limit is asked for, which takes reading what was measured.
    if (quietMs < this.#lookMs || !(quietMs >= blockedTimeoutMs())) return undefined;
    return {
      reason: `kept its thread in one call for ${Math.round(quietMs)} ms past a deadline`,
      runningMs,
      isOfBlocked: true,
    };
  }
}
