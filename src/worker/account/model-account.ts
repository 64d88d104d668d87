import type { oneshot } from '../../channels/index.js';
import { describeThrown } from '../../core/index.js';
import type { EventHub } from '../events.js';
import type { Request } from '../request.js';
import type { WorkerState } from '../state.js';
import { type LatencySummary, LatencyWindow } from './ledger.js';

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
  /** Requests whose caller was answered while the model is still at them. */
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
    this.#processed++;
    this.#latency.record(at - request.enteredAt, at);
    if (failure !== undefined) this.#noteFailure(request.operation, failure.error, at);
    if (this.onProgress !== undefined) this.#tell('leave', request.operation, at);
  }

  /** A request was answered over the model's head. */
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
