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
  /** How often the worker was replaced after a crash. */
  readonly restarts: number;
  /** Requests that wait in each operation's queue. */
  readonly queueDepth: Readonly<Record<string, number>>;
  /** How long requests took from acceptance to answer, in ms, over the sliding window. */
  readonly latency: LatencySummary;
}

/** Percentiles over a sliding window, in ms. All are 0 when the window is empty. */
export interface LatencySummary {
  /** How many samples the window holds. */
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}
