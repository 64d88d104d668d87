import { describeThrown } from '../../core/index.js';
import type { EventHub } from '../events.js';
import type { Request } from '../request.js';
import type { LastError, WorkerHealth, WorkerProgress } from './health.js';
import { LatencyWindow } from './latency-window.js';

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
