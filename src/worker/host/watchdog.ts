import { Worker } from 'node:worker_threads';
import { type ProgressBoard, WATCHDOG_FD } from './progress-board.js';

/** How often the watchdog looks, in ms. */
const WATCHDOG_INTERVAL_MS = 100;

/** What the watchdog thread is started with. */
interface WatchdogData {
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

/**
 * The watchdog thread of a child process, as text: a thread that is started from its text needs no file and no loader, and lives where files are read
 * through one (Yarn's Plug'n'Play, archives), which the thread does without. Two tasks:
 * - the parent dies, in whatever way: its end of the pipe closes, and `ppid` changes. Either sign ends this process by SIGKILL, which needs
 *   nothing of the main thread;
 * - the main thread's progress (`progress-board.ts`) goes to the parent while it changes or a call is under way, so that the parent can tell a
 *   long native call (signs of life, no progress) from a stopped process (no signs at all).
 */
const WATCHDOG_THREAD: string = `
'use strict';
const { Socket } = require('node:net');
const { board, parentPid, fd, intervalMs } = require('node:worker_threads').workerData;
const cells = new Int32Array(board);

// Started by a wrapper (a script given as execPath), the parent that was told is not the one we have; then ours is the one to watch.
const watched = process.ppid === parentPid || process.ppid === 1 ? parentPid : process.ppid;
const die = () => process.kill(process.pid, 'SIGKILL');

const pipe = new Socket({ fd, readable: true, writable: true });
pipe.on('end', die);
pipe.on('close', die);
pipe.on('error', die);
pipe.resume();

// A quiet worker shows that it lives once in so many looks.
const QUIET_TICKS = 5;
let last = '';
let quietTicks = 0;
function look() {
  if (process.ppid !== watched) die();
  const [begun, ended, latest] = [0, 1, 2].map((index) => Atomics.load(cells, index));
  const key = begun + ' ' + ended;
  if (key === last && begun === ended && ++quietTicks < QUIET_TICKS) return;
  last = key;
  quietTicks = 0;
  const record = Buffer.allocUnsafe(12);
  [begun, ended, latest].forEach((value, index) => record.writeInt32LE(value, index * 4));
  // A parent that does not read (its own loop is blocked) must not make this thread's memory grow.
  if (pipe.writableLength < 4096) pipe.write(record);
}
// At once, so that it is heard of before the model is loaded.
look();
setInterval(look, intervalMs);
`;
