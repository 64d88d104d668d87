/** The entry file of a worker thread that hosts a worker. */
import { workerData } from 'node:worker_threads';
import { Link, portTransport } from '../codec/link.js';
import type { ThreadData } from '../executor/thread.js';
import { afterPrinted } from './after-printed.js';
import { ProgressBoard } from './progress-board.js';
import { serveModel } from './serve-model.js';

const { board, port } = workerData as ThreadData;

serveModel({
  link: new Link(portTransport(port)),
  board: new ProgressBoard(board),
  host: 'thread',
  // To close the port is not enough: a timer or a server that the model has left open would hold the thread.
  exit: () => afterPrinted(() => process.exit(0)),
});
