import { LinkedList } from '../core/index.js';
import type { OperationQueue } from './operation-queue.js';
import type { Outcome, PendingRequest } from './pending-request.js';
import type { WorkerStats } from './worker-stats.js';

// Invariant: accepted = succeeded + failed + expired + cancelled + unanswered.size, after every public step.

/** The account of every call: which wait for room, which are unanswered, and how the others ended. */
export class RequestLedger {
  /** Requests that were accepted and are not answered. */
  readonly unanswered: LinkedList<PendingRequest> = new LinkedList();
  /** Calls that wait for room. */
  waiting = 0;
  /** Calls that were never accepted. */
  refused = 0;
  /** Results that nobody waited for any more. */
  late = 0;
  #accepted = 0;
  readonly #counts: Record<Outcome, number> = { succeeded: 0, failed: 0, expired: 0, cancelled: 0 };

  /** Whether a call waits for room or for its answer. */
  get hasPending(): boolean {
    return this.unanswered.size > 0 || this.waiting > 0;
  }

  /** A call has to wait for room. */
  wait(request: PendingRequest): void {
    request.queue.waiting.push(request);
    this.waiting++;
  }

  /** A call waits for room no more: there is some, or it was given up. */
  stopWaiting(request: PendingRequest): void {
    request.queue.waiting.remove(request);
    this.waiting--;
  }

  accept(request: PendingRequest): void {
    this.#accepted++;
    this.unanswered.push(request);
  }

  answer(request: PendingRequest, outcome: Outcome): void {
    this.unanswered.remove(request);
    this.#counts[outcome]++;
  }

  report(queues: Iterable<OperationQueue>): Omit<WorkerStats, 'inFlight' | 'restarts' | 'queueDepth' | 'latency'> {
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
