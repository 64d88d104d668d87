/** How the processes of workers and spares are started. */
import { availableCores, type ModelOptions } from '../../pool/index.js';
import { inheritedExecArgv } from '../../worker/index.js';
import type { PassedModelOptions } from './pool-options.js';

/**
 * A worker's heap is small, but each image brings buffers of a megabyte. V8 counts them against the room that a heap of 9 MB has to grow, so it
 * would mark the whole heap every few images, and its helper threads would take the core of another worker. With room for five times as much
 * and a small young generation, most of the buffers go with the young objects that hold them. Workers of large models, whose time goes elsewhere,
 * take the room back and collect more often themselves (`PixelGarbage`): so they are started as the others are, and spares are for all.
 */
const WORKER_FLAGS = ['--single-threaded-gc', '--heap-growing-percent=400', '--max-semi-space-size=1', '--expose-gc'];

/** What Node has unless it is told otherwise. */
const MOST_THREADS = 4;

/** What of a model's options says how its process is started. */
export type ProcessStart = Pick<ModelOptions, 'env' | 'execPath' | 'execArgv' | 'stdio' | 'threadPoolSize'>;

/** Adds to what was asked for what workers run best with. */
export function planProcessStart(
  { env, execPath, execArgv, stdio }: PassedModelOptions,
  maxWorkers: number,
): ProcessStart {
  return Object.freeze({
    ...(env === undefined ? {} : { env }),
    ...(execPath === undefined ? {} : { execPath }),
    execArgv: execArgv ?? [...inheritedExecArgv(), ...workerFlags()],
    ...(stdio === undefined ? {} : { stdio }),
    threadPoolSize: decodeThreads(maxWorkers),
  });
}

/** The loader of Plug'n'Play makes so much garbage as it starts that a small young generation doubles its time. */
function workerFlags(): readonly string[] {
  if (!('pnp' in process.versions)) return WORKER_FLAGS;
  return WORKER_FLAGS.filter((flag) => !flag.startsWith('--max-semi-space-size'));
}

/** Threads that read and decode: one beyond a worker's share of the cores, so that one can wait. More of them only take turns. */
function decodeThreads(maxWorkers: number): number {
  return Math.min(MOST_THREADS, 1 + Math.ceil(availableCores() / maxWorkers));
}
