/**
 * The watchdog thread of a child process. Two tasks:
 * - the parent dies, in whatever way: its end of the pipe closes, and `ppid` changes. Either sign ends this process by SIGKILL, which needs
 *   nothing of the main thread;
 * - the main thread's progress (`progress-board.ts`) goes to the parent while it changes or a call is under way, so that the parent can tell a
 *   long native call (signs of life, no progress) from a stopped process (no signs at all).
 */
import { Socket } from 'node:net';
import { workerData } from 'node:worker_threads';
import { ProgressBoard } from './progress-board.js';
import type { WatchdogData } from './watchdog.js';

const { board: buffer, parentPid, fd, intervalMs } = workerData as WatchdogData;
const board = new ProgressBoard(buffer);

// Started by a wrapper (a script given as `execPath`), the parent that was told is not the one we have; then ours is the one to watch.
const watched = process.ppid === parentPid || process.ppid === 1 ? parentPid : process.ppid;

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

const pipe = new Socket({ fd, readable: true, writable: true });
pipe.on('end', die);
pipe.on('close', die);
pipe.on('error', die);
pipe.resume();

/** A quiet worker shows that it lives once in so many looks. */
const QUIET_TICKS = 5;

let last = '';
let quietTicks = 0;
setInterval(() => {
  if (process.ppid !== watched) die();
  const { begun, ended, latest } = board.read();
  const record = Buffer.allocUnsafe(12);
  record.writeInt32LE(begun, 0);
  record.writeInt32LE(ended, 4);
  record.writeInt32LE(latest, 8);
  const key = `${begun} ${ended}`;
  if (key === last && begun === ended && ++quietTicks < QUIET_TICKS) return;
  last = key;
  quietTicks = 0;
  // A parent that does not read (its own loop is blocked) must not make this thread's memory grow.
  if (pipe.writableLength < 4_096) pipe.write(record);
}, intervalMs);
