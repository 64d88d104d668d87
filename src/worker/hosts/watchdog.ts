import { Worker } from 'node:worker_threads';
import { WATCHDOG_FD } from './descriptors.js';
import type { ProgressBoard } from './progress-board.js';
import { WATCHDOG_THREAD } from './watchdog-thread.js';

/** How often the watchdog looks, in ms. */
export const WATCHDOG_INTERVAL_MS = 100;

/** What the watchdog thread is started with. */
export interface WatchdogData {
  readonly board: SharedArrayBuffer;
  readonly parentPid: number;
  readonly fd: number;
  readonly intervalMs: number;
}

/**
 * Starts the watchdog thread of this child process. It has an event loop of its own, so it works while the main thread is inside a native call
 * or a loop; it holds nothing alive by itself.
 */
export function startWatchdog(board: ProgressBoard, parentPid: number): void {
  const data: WatchdogData = {
    board: board.buffer,
    parentPid,
    fd: WATCHDOG_FD,
    intervalMs: WATCHDOG_INTERVAL_MS,
  };
  const watchdog = new Worker(WATCHDOG_THREAD, {
    eval: true,
    workerData: data,
    // No loaders, no environment: it needs none, and starts sooner.
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 },
  });
  // A child without its watchdog would outlive its parent: better to end, and be replaced.
  watchdog.on('error', (error) => {
    process.stderr.write(`millrace: the watchdog thread failed: ${String(error)}\n`);
    process.kill(process.pid, 'SIGKILL');
  });
  watchdog.unref();
}
