import type { Readable } from 'node:stream';
import { clearTimeout, setTimeout } from 'node:timers';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { monotonicNow } from '../../core/index.js';
import { Link, portTransport } from '../codec/link.js';
import { ProgressBoard } from '../host/progress-board.js';
import { packageFile } from '../package-file.js';
import { flagsForThread, threadEnvironment } from './exec-argv.js';
import { StderrTail } from './host-exit.js';
import type { Host, HostExit, HostSettings } from './host.js';

/** How long the reader of an ended thread's output may take for the next piece of it, in ms. */
const OUTPUT_GRACE_MS = 200;

/** What a thread is started with. */
export interface ThreadData {
  readonly board: SharedArrayBuffer;
  /** Its side of the link. */
  readonly port: MessagePort;
}

/**
 * Starts a worker thread that waits for an `init` message. For models in JavaScript and WebAssembly: a thread that is ended inside a native
 * call takes the whole process with it.
 */
export function startThreadHost(options: HostSettings): Host {
  const board = new ProgressBoard();
  const { port1: port, port2 } = new MessageChannel();
  const flags = flagsForThread(options.execArgv, process.execArgv);
  const data: ThreadData = { board: board.buffer, port: port2 };
  const worker = new Worker(packageFile('worker/host/thread-child.js'), {
    workerData: data,
    transferList: [port2],
    ...(flags === undefined ? {} : { execArgv: flags }),
    // Without an environment of its own, a thread starts with a copy of the parent's.
    ...(options.env === undefined ? {} : { env: threadEnvironment(options.env) }),
    ...(options.heapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: options.heapMb } }),
    // Asked for by `stdout: true`, a thread's output would hold the process for as long as it is read; piped by default, it does not.
  });
  if (options.stdio !== 'split') worker.stdout.unpipe();
  if (options.stdio === 'inherit') pipeToStderr(worker.stdout);
  if (options.stdio === 'ignore') {
    worker.stdout.resume();
    worker.stderr.unpipe();
  }

  const tail = new StderrTail();
  worker.stderr.setEncoding('utf8');
  worker.stderr.on('data', (text: string) => tail.push(text));
  // Taking a pipe away leaves a stream paused.
  worker.stderr.resume();

  const transport = portTransport(port);
  const link = new Link({
    ...transport,
    subscribe(handler, onUnreadable) {
      transport.subscribe(handler, onUnreadable);
      // Listening holds the process.
      port.unref();
    },
  });
  const exited = waitForExit(worker, port, tail).then((exit) => {
    link.close();
    port.close();
    return exit;
  });
  worker.unref();

  return {
    kind: 'thread',
    pid: undefined,
    link,
    exited,
    started: new Promise((resolve) => worker.once('online', () => resolve())),
    startedAt: monotonicNow(),
    progress: () => ({ value: board.read(), heardAt: monotonicNow() }),
    kill: () => void worker.terminate(),
  };
}

function waitForExit(worker: Worker, port: MessagePort, tail: StderrTail): Promise<HostExit> {
  // What was sent before the end is received before it.
  const closed = new Promise<void>((resolve) => port.once('close', resolve));
  return new Promise((resolve) => {
    let cause: unknown;
    worker.on('error', (error) => {
      cause = error;
    });
    worker.once('exit', (exitCode) => {
      const done = (): void => {
        clearTimeout(timer);
        resolve({ exitCode, signal: null, stderr: tail.lines(), ...(cause === undefined ? {} : { cause }) });
      };
      const timer = setTimeout(done, OUTPUT_GRACE_MS);
      for (const stream of [worker.stdout, worker.stderr]) stream.on('data', () => timer.refresh());
      void Promise.all([closed, ended(worker.stdout), ended(worker.stderr)]).then(done);
    });
  });
}

/** Without the warning that Node gives of many threads, each of which listens to the stream while it is piped. */
function pipeToStderr(stream: Readable): void {
  const { stderr } = process;
  const limit = stderr.getMaxListeners();
  stderr.setMaxListeners(0);
  stream.pipe(stderr, { end: false });
  stderr.setMaxListeners(limit);
}

/** Resolves once all of a stream has been read. */
function ended(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once('end', resolve);
    stream.once('close', resolve);
  });
}
