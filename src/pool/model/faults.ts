import { crashedWorker, isLive } from '../../worker/index.js';
import type { PooledWorker } from '../pooled-worker.js';

/** Whether a failure says something about the model: it threw, hung or crashed. Bad input, aborts and shortage of room or memory do not. */
export function isModelFault(error: unknown): boolean {
  const fault = (error as { fault?: unknown } | null | undefined)?.fault;
  // What is no Millrace error was thrown by the model's own code.
  return fault === undefined ? true : fault === 'model';
}

const LOST = new Set<unknown>(['ERR_WORKER_CRASHED', 'ERR_WORKER_CLOSED', 'ERR_WORKER_LOAD']);

/** Whether a failure means that the worker went away with the request, and not another worker that its model has for itself. */
export function isWorkerLost(error: unknown, { id, state }: Pick<PooledWorker, 'id' | 'state'>): boolean {
  if (!LOST.has((error as { code?: unknown } | null | undefined)?.code)) return false;
  // The calls that a crash took along may hear of it before the state tells of it.
  return !isLive(state.current) || crashedWorker(error) === id;
}

/** Whether a failure is the passing of a deadline. */
export function isDeadlineExceeded(error: unknown): boolean {
  return (error as { code?: unknown } | null | undefined)?.code === 'ERR_DEADLINE_EXCEEDED';
}
