import type { Clock } from '../core/index.js';
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
  readonly #clock: Clock;
  readonly #hub: EventHub;
  readonly #latency: LatencyWindow = new LatencyWindow();
  // In order of entry: the first is the oldest.
  readonly #inside: Set<PendingRequest> = new Set();
  #processed = 0;
  #failed = 0;
  #lastError: LastError | undefined;

  constructor(clock: Clock, hub: EventHub) {
    this.#clock = clock;
    this.#hub = hub;
  }

  enter(request: PendingRequest): void {
    const now = this.#clock.now();
    request.enteredAt = now;
    this.#inside.add(request);
    if (this.onProgress !== undefined) this.#tell('enter', request, now);
  }

  leave(request: PendingRequest, isFailure: boolean, error: unknown): void {
    const now = this.#clock.now();
    this.lastActiveAt = now;
    this.#inside.delete(request);
    this.#processed++;
    this.#latency.record(now - request.enteredAt, now);
    if (isFailure) this.#noteFailure(request, error, now);
    if (this.onProgress !== undefined) this.#tell('leave', request, now);
  }

  /** The model's part of a health report. */
  report(now: number): Pick<WorkerHealth, 'runningMs' | 'processed' | 'failed' | 'latency' | 'lastError'> {
    const [oldest] = this.#inside;
    return {
      runningMs: oldest === undefined ? 0 : now - oldest.enteredAt,
      processed: this.#processed,
      failed: this.#failed,
      latency: this.#latency.summarise(now),
      lastError: this.#lastError,
    };
  }

  #tell(phase: 'enter' | 'leave', request: PendingRequest, at: number): void {
    const { operation } = request;
    this.onProgress?.({ phase, operation, inFlight: this.#inside.size, processed: this.#processed, at });
  }

  #noteFailure(request: PendingRequest, error: unknown, at: number): void {
    this.#failed++;
    const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
    this.#lastError = {
      name: error instanceof Error ? error.name : typeof error,
      message: error instanceof Error ? error.message : String(error),
      code: typeof code === 'string' ? code : undefined,
      at,
    };
    if (this.#hub.hasAudience('failure')) {
      this.#hub.emit({ type: 'failure', operation: request.operation, error });
    }
  }
}
