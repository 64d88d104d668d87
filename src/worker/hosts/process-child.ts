/**
 * The entry file of a child process that hosts a worker. The order matters: signals first, so that the terminal's Ctrl-C finds them ignored; the
 * watchdog next, before any model code can block the main thread; then the link, and the model when the parent has said which.
 */
import { serveWorker } from '../link/serve-worker.js';
import { asCloneError } from '../link/clone-error.js';
import { createLink, type Parcel } from '../link/link.js';
import { ProgressBoard } from './progress-board.js';
import { startWatchdog } from './watchdog.js';

// The parent drains its workers; a signal to the whole group must not end them under it.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

const board = new ProgressBoard();
startWatchdog(board, Number(process.env.MILLRACE_PARENT_PID));
delete process.env.MILLRACE_PARENT_PID;

process.once('disconnect', () => process.exit(0));

const link = createLink({
  canTransfer: false,
  send(parcel) {
    if (!process.connected) return;
    try {
      process.send?.(parcel);
    } catch (error) {
      throw asCloneError(error);
    }
  },
  subscribe(handler) {
    process.on('message', (parcel) => handler(parcel as Parcel));
  },
});

serveWorker({
  link,
  board,
  host: 'process',
  // What was printed leaves first: `process.exit` waits for no pipe. Where nobody reads, the parent kills in the end.
  exit: () => void process.stdout.write('', () => void process.stderr.write('', () => process.disconnect?.())),
});
