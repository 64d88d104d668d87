import { crashedWorker, isLive } from '../../worker/index.js';
import type { PooledWorker } from '../pooled-worker.js';
import type { Call, Job } from './job.js';

/** Reads a member of what was thrown. Never throws, whatever that is. */
function memberOf(thrown: unknown, name: 'code' | 'fault'): unknown {
  try {
    return (thrown as Record<string, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}

/** Whether a failure that came out of a model says something about it: bad input, aborts and shortage of room or memory do not. */
export function isModelFault(error: unknown): boolean {
  const fault = memberOf(error, 'fault');
  // What is no Millrace error was thrown by the model's own code.
  return fault === undefined ? true : fault === 'model';
}

/** How many times its operation's usual time a call must have had before its expiry says something about the model. */
const FAIR_FACTOR = 4;
/** And how much time at least, in ms: less is lost to a busy event loop. */
const FAIR_MS = 20;

/**
 * Whether a model had a call for a fair time before its deadline: several times what the operation takes as a rule, or most of the model's own
 * `timeoutMs`, where the caller has given it that. A part of that goes by while a worker starts. A call that waited for others had none.
 *
 * @param givenMs How long the model could have worked at it.
 */
export function hadFairTime(call: Call, givenMs: number, timeoutMs: number): boolean {
  if (waitsForOthers(call.job)) return false;
  const { serviceMs } = call.job.operation.service;
  const ownMs = call.timeoutMs >= timeoutMs ? timeoutMs / 2 : Number.POSITIVE_INFINITY;
  const usualMs = serviceMs === undefined ? Number.POSITIVE_INFINITY : Math.max(FAIR_MS, FAIR_FACTOR * serviceMs);
  const fairMs = Math.min(ownMs, usualMs);
  // Clocks that count fractions may lose a little of one.
  return fairMs !== Number.POSITIVE_INFINITY && givenMs >= fairMs - 1;
}

function waitsForOthers({ operation, input }: Job): boolean {
  try {
    return operation.declaration.waitsForOthers?.(input as never) === true;
  } catch {
    return false;
  }
}

const LOST = new Set<unknown>(['ERR_WORKER_CRASHED', 'ERR_WORKER_CLOSED', 'ERR_WORKER_LOAD']);

/** Whether a failure means that the worker went away with the request, and not another worker that its model has for itself. */
export function isWorkerLost(error: unknown, { id, state }: Pick<PooledWorker, 'id' | 'state'>): boolean {
  if (!LOST.has(memberOf(error, 'code'))) return false;
  // The calls that a crash took along may hear of it before the state tells of it.
  return !isLive(state.current) || crashedWorker(error) === id;
}

/** Whether a failure is the passing of a deadline. */
export function isDeadlineExceeded(error: unknown): boolean {
  return memberOf(error, 'code') === 'ERR_DEADLINE_EXCEEDED';
}
