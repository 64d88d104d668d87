import { describeThrown } from '../core/index.js';
import type { EventHub } from './event-hub.js';
import { LatencyWindow } from './latency-window.js';
import type { PendingRequest } from './pending-request.js';
import type { LastError, WorkerHealth, WorkerProgress } from './worker-health.js';

/** The account of the calls into the model: which are inside, since when, and how those that left it fared. */
export class ModelAccount {
  /** Told before and after each call. */
  onProgress: ((progress: WorkerProgress) => void) | undefined;
  /** When a call last left the model. */
  lastActiveAt = 0;
  /** Which call that was, until it is answered. */
  lastLeft: PendingRequest | undefined;
  readonly #hub: EventHub;
  readonly #latency: LatencyWindow = new LatencyWindow();
  // Unordered: a place that falls free is filled by the last.
  readonly #inside: PendingRequest[] = [];
  #processed = 0;
  #failed = 0;
  #lastError: LastError | undefined;

  constructor(hub: EventHub) {
    this.#hub = hub;
  }

  enter(request: PendingRequest, at: number): void {
    request.enteredAt = at;
    if (request.insideIndex < 0) request.insideIndex = this.#inside.push(request) - 1;
    if (this.onProgress !== undefined) this.#tell('enter', request, at);
  }

  leave(request: PendingRequest, isFailure: boolean, error: unknown, at: number): void {
    this.lastActiveAt = at;
    this.#remove(request);
    this.#processed++;
    this.#latency.record(at - request.enteredAt, at);
    this.lastLeft = request;
    if (isFailure) this.#noteFailure(request, error, at);
    if (this.onProgress !== undefined) this.#tell('leave', request, at);
  }

  #remove(request: PendingRequest): void {
    const index = request.insideIndex;
    if (index < 0) return;
    request.insideIndex = -1;
    const last = this.#inside.pop() as PendingRequest;
    if (last === request) return;
    this.#inside[index] = last;
    last.insideIndex = index;
  }

  /** The model's part of a health report. */
  report(now: number): Pick<WorkerHealth, 'runningMs' | 'processed' | 'failed' | 'latency' | 'lastError'> {
    let runningMs = 0;
    for (const each of this.#inside) runningMs = Math.max(runningMs, now - each.enteredAt);
    return {
      runningMs,
      processed: this.#processed,
      failed: this.#failed,
      latency: this.#latency.summarise(now),
      lastError: this.#lastError,
    };
  }

  #tell(phase: 'enter' | 'leave', request: PendingRequest, at: number): void {
    const { operation } = request;
    try {
      this.onProgress?.({ phase, operation, inFlight: this.#inside.length, processed: this.#processed, at });
    } catch (error) {
      // No call is answered with it: it is thrown where nobody catches it, as by any other listener.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #noteFailure(request: PendingRequest, error: unknown, at: number): void {
    this.#failed++;
    this.#lastError = { ...describeThrown(error), at };
    if (this.#hub.hasAudience('failure')) {
      this.#hub.emit({ type: 'failure', operation: request.operation, error });
    }
  }
}
