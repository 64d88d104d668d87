/** What is known of how long a model takes. */
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

const SHORTEST_MS = 2_000;
const LONGEST_MS = 30_000;
/** How many times the 99th percentile a run must take, at least, to be taken for a hang. */
const FACTOR = 4;
/** From how many answers on they say how long runs take. */
const ENOUGH = 20;

/**
 * How long one run of a model may keep its worker's thread past a deadline, in ms. Answers may have been those of single items, so a batch is allowed as
 * many times theirs as it has items; and before there are enough of them, as many times the load, which has run one.
 */
export function blockedLimitMs({ answers, p99Ms = 0, loadMs, maxBatch }: MeasuredTimes): number {
  if (loadMs === undefined) return LONGEST_MS;
  const byAnswers = Math.max(FACTOR, maxBatch) * p99Ms;
  const byLoad = answers >= ENOUGH ? 0 : maxBatch * loadMs;
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, byAnswers, byLoad));
}
