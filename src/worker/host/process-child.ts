/**
 * The entry file of a child process that hosts a worker. The order matters: signals first, so that the terminal's Ctrl-C finds them ignored; the
 * watchdog next, before any model code can block the main thread; then the link, and the model when the parent has said which.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { socketTransport } from '../codec/frames.js';
import { Link } from '../codec/link.js';
import { afterPrinted } from './after-printed.js';
import { HELLO, INPUT_FD, OUTPUT_FD, ProgressBoard, WATCHDOG_FD } from './progress-board.js';
import { serveModel } from './serve-model.js';
import { startWatchdog } from './watchdog.js';
import path from 'node:path';

// The parent drains its workers; a signal to the whole group must not end them under it.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

// Before anything can end this process: the parent knows by it that the program is Node.
try {
  writeSync(WATCHDOG_FD, new Uint8Array(new Int32Array([HELLO, 0, 0]).buffer));
} catch {
  // No parent reads it.
}

// No thread starts in a folder that was deleted.
try {
  process.cwd();
} catch {
  process.chdir(path.parse(process.execPath).root);
}

const board = new ProgressBoard();
startWatchdog(board, Number(process.env.MILLRACE_PARENT_PID));
delete process.env.MILLRACE_PARENT_PID;

const input = new Socket({ fd: INPUT_FD, readable: true, writable: false });
const output = new Socket({ fd: OUTPUT_FD, readable: false, writable: true });
// The parent is gone, or has no use for this process any more.
input.once('close', () => process.exit(0));

serveModel({
  link: new Link(socketTransport(input, output)),
  board,
  host: 'process',
  // Where the output is not read, the parent kills in the end.
  exit: () => afterPrinted(() => output.end(() => process.exit(0))),
});
