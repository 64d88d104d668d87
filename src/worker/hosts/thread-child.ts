/** The entry file of a worker thread that hosts a worker. */
import { parentPort, workerData } from 'node:worker_threads';
import { createLink, type Parcel } from '../link/link.js';
import { serveWorker } from '../link/serve-worker.js';
import { ProgressBoard } from './progress-board.js';

const port = parentPort as NonNullable<typeof parentPort>;
const board = new ProgressBoard((workerData as { board: SharedArrayBuffer }).board);

const link = createLink({
  canTransfer: true,
  send(parcel, transfer) {
    port.postMessage(parcel, transfer.length === 0 ? undefined : transfer);
  },
  subscribe(handler) {
    port.on('message', (parcel: Parcel) => handler(parcel));
  },
});

serveWorker({ link, board, host: 'thread', exit: () => port.close() });
