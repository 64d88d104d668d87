import type { oneshot } from '../../channels/index.js';
import { describeThrown, LinkedList } from '../../core/index.js';
import type { EventHub } from '../events.js';
import type { Outcome, Request } from '../request.js';
import type { WorkerState } from '../state.js';
import type { OperationQueue } from './operation-queue.js';

/** How a worker's requests have fared. At every moment `accepted = succeeded + failed + expired + cancelled + pending`. */
export interface WorkerLedger {
  /** Requests that got a place in a queue: each gets exactly one answer. */
  readonly accepted: number;
  /** Answered with a value, or streamed to the end. */
  readonly succeeded: number;
  /** Answered with an error: the model's, a crash, the worker's end. */
  readonly failed: number;
  /** Answered with `DeadlineExceededError`. */
  readonly expired: number;
  /** Given up by the caller. */
  readonly cancelled: number;
  /** Accepted and not answered yet. */
  readonly pending: number;
}

/** What a worker has done and is doing. */
export interface WorkerStats extends WorkerLedger {
  /** Calls that were never accepted: no room, a closed worker, given up or expired while they waited for room. */
  readonly refused: number;
  /** Calls that wait for room in a queue. */
  readonly waiting: number;
  /** Requests in the queues: accepted and not yet taken by the loop. */
  readonly queued: number;
  /** Requests inside the model, those included whose caller has given up. */
  readonly inFlight: number;
  /** Results that came after the caller had given up or the deadline had passed, and were dropped. */
  readonly lateResults: number;
  /** Requests that wait in each operation's queue. */
  readonly queueDepth: Readonly<Record<string, number>>;
  /** How long requests took from acceptance to answer, in ms, over the sliding window. */
  readonly latency: LatencySummary;
}

// Invariant: accepted = succeeded + failed + expired + cancelled + unanswered.size, after every public step.

/** The account of every call: which wait for room, which are unanswered, and how the others ended. */
export class Ledger {
  /** Requests that were accepted and are not answered. */
  readonly unanswered: LinkedList<Request> = new LinkedList();
  /** Calls that wait for room. */
  waiting = 0;
  /** Calls that were never accepted. */
  refused = 0;
  /** Results that came too late. */
  late = 0;
  #accepted = 0;
  readonly #counts: Record<Outcome, number> = { succeeded: 0, failed: 0, expired: 0, cancelled: 0 };

  /** Whether a call waits for room or for its answer. */
  get hasPending(): boolean {
    return this.unanswered.size > 0 || this.waiting > 0;
  }

  accept(request: Request): void {
    this.#accepted++;
    this.unanswered.push(request);
  }

  answer(request: Request, outcome: Outcome): void {
    this.unanswered.remove(request);
    this.#counts[outcome]++;
  }

  report(queues: Iterable<OperationQueue>): Omit<WorkerStats, 'inFlight' | 'queueDepth' | 'latency'> {
    let queued = 0;
    for (const { used } of queues) queued += used;
    return {
      accepted: this.#accepted,
      ...this.#counts,
      pending: this.unanswered.size,
      refused: this.refused,
      waiting: this.waiting,
      queued,
      lateResults: this.late,
    };
  }
}

/** Percentiles over a sliding window, in ms. All are 0 when the window is empty. */
export interface LatencySummary {
  /** How many samples the window holds. */
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

const SAMPLES = 1024;
const WINDOW_MS = 60_000;

/** Latencies over a sliding window: at most the last 1,024, none older than a minute. Recording is O(1) and allocates nothing. */
export class LatencyWindow {
  readonly #values: Float64Array;
  readonly #times: Float64Array;
  readonly #windowMs: number;
  #next = 0;
  #size = 0;

  constructor(windowMs: number = WINDOW_MS, samples: number = SAMPLES) {
    this.#windowMs = windowMs;
    this.#values = new Float64Array(samples);
    this.#times = new Float64Array(samples);
  }

  /** Adds a latency, in ms, that was measured at `at`. */
  record(ms: number, at: number): void {
    const index = this.#next;
    this.#values[index] = ms;
    this.#times[index] = at;
    this.#next = index + 1 === this.#values.length ? 0 : index + 1;
    if (this.#size < this.#values.length) this.#size++;
  }

  /** Percentiles (nearest rank) of what the window holds at `now`. */
  summarise(now: number): LatencySummary {
    const since = now - this.#windowMs;
    const inside = new Float64Array(this.#size);
    let count = 0;
    for (let index = 0; index < this.#size; index++) {
      if ((this.#times[index] as number) >= since) inside[count++] = this.#values[index] as number;
    }
    const sorted = inside.subarray(0, count).sort();
    const rank = (share: number): number => (count === 0 ? 0 : (sorted[Math.ceil(share * count) - 1] as number));
    return { count, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99) };
  }
}

/** A question for the loop: how is it? To be answered with `channels.report()`. */
export interface Ping {
  readonly reply: oneshot.Sender<WorkerHealth>;
}

/** The account of the calls into the model: which are inside, since when, and how those that left it fared. */
export class ModelAccount {
  /** Told before and after each call. */
  onProgress: ((progress: WorkerProgress) => void) | undefined;
  /** When a call last left the model. */
  lastActiveAt = 0;
  readonly #hub: EventHub;
  readonly #latency: LatencyWindow = new LatencyWindow();
  #inside = 0;
  /** Requests that were answered while the model is still at work on them. */
  readonly #abandoned = new Set<Request>();
  #processed = 0;
  #failed = 0;
  #lastError: LastError | undefined;

  constructor(hub: EventHub) {
    this.#hub = hub;
  }

  enter(request: Request, at: number): void {
    request.isInModel = true;
    request.enteredAt = at;
    this.#inside++;
    if (this.onProgress !== undefined) this.#tell('enter', request.operation, at);
  }

  /** @param failure What the model failed with, where its caller still waits for it. */
  leave(request: Request, failure: { readonly error: unknown } | undefined, at: number): void {
    request.isInModel = false;
    request.leftAt = at;
    this.lastActiveAt = at;
    this.#inside--;
    if (request.phase === 'answered') this.#abandoned.delete(request);
    if (!request.isUnreached) {
      this.#processed++;
      this.#latency.record(at - request.enteredAt, at);
      if (failure !== undefined) this.#noteFailure(request.operation, failure.error, at);
    }
    if (this.onProgress !== undefined) this.#tell('leave', request.operation, at);
  }

  /** A request was answered while the model is still at work on it. */
  abandon(request: Request): void {
    this.#abandoned.add(request);
  }

  /** The model's part of a health report. `unanswered` are the worker's requests. */
  report(
    now: number,
    unanswered: Iterable<Request>,
  ): Pick<WorkerHealth, 'runningMs' | 'processed' | 'failed' | 'latency' | 'lastError'> {
    let runningMs = 0;
    for (const each of [...unanswered, ...this.#abandoned]) {
      if (each.isInModel) runningMs = Math.max(runningMs, now - each.enteredAt);
    }
    return {
      runningMs,
      processed: this.#processed,
      failed: this.#failed,
      latency: this.#latency.summarise(now),
      lastError: this.#lastError,
    };
  }

  #tell(phase: 'enter' | 'leave', operation: string, at: number): void {
    try {
      this.onProgress?.({ phase, operation, inFlight: this.#inside, processed: this.#processed, at });
    } catch (error) {
      // No call is answered with it: it is an uncaught exception, as of any other listener.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #noteFailure(operation: string, error: unknown, at: number): void {
    this.#failed++;
    this.#lastError = { ...describeThrown(error), at };
    if (this.#hub.hasAudience('failure')) this.#hub.emit({ type: 'failure', operation, error });
  }
}

/** A worker's answer to a ping, made by its loop beside the model. */
export interface WorkerHealth {
  readonly state: WorkerState;
  /** How long it has been in that state, in ms. */
  readonly stateMs: number;
  /** Requests that wait in each operation's queue. */
  readonly queueDepth: Readonly<Record<string, number>>;
  /** Requests inside the model. */
  readonly inFlight: number;
  /** How long the oldest request has been inside the model, in ms; 0 when none is. */
  readonly runningMs: number;
  /** Calls that left the model, with or without an error. */
  readonly processed: number;
  /** Calls that left the model with an error. */
  readonly failed: number;
  /** How long calls were inside the model, in ms, over the sliding window. */
  readonly latency: LatencySummary;
  /** The last error of the model; never the input that led to it. */
  readonly lastError: LastError | undefined;
  /** How long the loop has been running, in ms. */
  readonly uptimeMs: number;
  /** The process that runs the model. */
  readonly pid: number;
  /** Resident memory of the process that runs the model, in bytes. */
  readonly rss: number;
  /** What the model's own `health()` said, if it has one; an error's message when it threw, or took longer than 500 ms. */
  readonly model?: unknown;
}

/** An error as a report shows it. */
export interface LastError {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  /** When it came, in ms on the worker's clock. */
  readonly at: number;
}

/** What the loop tells before and after each call into the model, so that a long call can be told from a hang. */
export interface WorkerProgress {
  readonly phase: 'enter' | 'leave';
  readonly operation: string;
  /** How many calls are inside the model now. */
  readonly inFlight: number;
  /** How many calls have left the model so far. */
  readonly processed: number;
  /** When it happened, in ms on the worker's clock. */
  readonly at: number;
}
