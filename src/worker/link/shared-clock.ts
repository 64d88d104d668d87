import { monotonicNow } from '../../core/index.js';

/** `process.hrtime` counts from one moment for every thread and process of a machine; `performance.now` from the start of its own. */
const OFFSET: number = measureOffset();

function measureOffset(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6 - monotonicNow();
}

/**
 * Milliseconds on the operating system's monotonic clock (`CLOCK_MONOTONIC` on Linux, and its likes elsewhere), which both sides of a link share:
 * a difference of two of them is how long a message was on its way.
 */
export function sharedNow(): number {
  return sharedTime(monotonicNow());
}

/** A time of `monotonicNow` on the clock that both sides share. */
export function sharedTime(at: number): number {
  return at + OFFSET;
}
