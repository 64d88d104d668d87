import { readFileSync } from 'node:fs';

const TICK_MS = 5;

/**
 * How late this thread's timers were through its own doing, tick by tick: the time in which the thread was ready and the system ran something else (the second
 * field of `schedstat`) is taken off, since a machine with other work keeps any loop waiting. Where the system does not tell, all lateness counts.
 */
export function startLoopLateness(): {
  stop(): { readonly ticks: number; readonly p99Ms: number; readonly longestMs: number };
} {
  const lateness: number[] = [];
  let last = performance.now();
  let lastWaited = waitedMs();
  const tick = () => {
    const now = performance.now();
    const waited = waitedMs();
    lateness.push(now - last - TICK_MS - (waited - lastWaited));
    last = now;
    lastWaited = waited;
  };
  const timer = setInterval(tick, TICK_MS);
  return {
    stop: () => {
      clearInterval(timer);
      tick();
      const sorted = lateness.sort((a, b) => a - b);
      return {
        ticks: sorted.length,
        p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Number.POSITIVE_INFINITY,
        longestMs: sorted.at(-1) ?? Number.POSITIVE_INFINITY,
      };
    },
  };
}

function waitedMs(): number {
  try {
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}
