/** The entry file of a worker thread that hosts a worker. */
import { parentPort, workerData } from 'node:worker_threads';
import { createLink } from '../link/link.js';
import type { Message } from '../link/outbox.js';
import { serveWorker } from '../link/serve-worker.js';
import { ProgressBoard } from './progress-board.js';

const port = parentPort as NonNullable<typeof parentPort>;
const board = new ProgressBoard((workerData as { board: SharedArrayBuffer }).board);
board.countTurns();

const link = createLink({
  canTransfer: true,
  send(batch, transfer) {
    port.postMessage(batch, transfer);
  },
  subscribe(handler) {
    port.on('message', (batch: readonly Message[]) => handler(batch));
  },
});

serveWorker({ link, board, host: 'thread', exit: () => port.close() });
