import { WorkerStateError } from './worker-errors.js';

/**
 * Where a worker is in its life.
 *
 * - `spawning`: its host is being started, or started again after a crash;
 * - `loading`: the model is being made and warmed up;
 * - `ready`: it waits for requests;
 * - `processing`: at least one request is inside the model;
 * - `idle`: it has waited for requests longer than its idle timeout;
 * - `evicting`: it finishes what it accepted and releases the model;
 * - `failed`: it could not load, or crashed more often than it may;
 * - `dead`: it is over.
 */
export type WorkerState = 'spawning' | 'loading' | 'ready' | 'processing' | 'idle' | 'evicting' | 'failed' | 'dead';

/** A worker's state, when it entered it, and why. */
export interface WorkerStatus {
  readonly state: WorkerState;
  /** When it was entered, in ms on the worker's clock. */
  readonly enteredAt: number;
  /** Why: the failure, for `failed`, `dead` and a `spawning` that follows a crash. */
  readonly cause?: unknown;
}

/**
 * Every step a worker can take: from each state, the states that may follow. A step that is not in here can't happen.
 *
 * @example
 * ```ts
 * workerTransitions.ready; // => ['processing', 'idle', 'spawning', 'evicting', 'failed']
 * workerTransitions.dead; // => []
 * ```
 */
export const workerTransitions: { readonly [S in WorkerState]: readonly WorkerState[] } = Object.freeze({
  spawning: Object.freeze<WorkerState[]>(['loading', 'evicting', 'failed']),
  loading: Object.freeze<WorkerState[]>(['ready', 'spawning', 'evicting', 'failed']),
  ready: Object.freeze<WorkerState[]>(['processing', 'idle', 'spawning', 'evicting', 'failed']),
  processing: Object.freeze<WorkerState[]>(['ready', 'spawning', 'evicting', 'failed']),
  idle: Object.freeze<WorkerState[]>(['ready', 'spawning', 'evicting', 'failed']),
  evicting: Object.freeze<WorkerState[]>(['dead']),
  failed: Object.freeze<WorkerState[]>(['dead']),
  dead: Object.freeze<WorkerState[]>([]),
});

/** Tells whether a worker may go from one state to another. */
export function canTransition(from: WorkerState, to: WorkerState): boolean {
  return workerTransitions[from].includes(to);
}

/** Whether a worker in this state serves requests, now or once it is loaded. */
export function isLive(state: WorkerState): boolean {
  return state !== 'evicting' && state !== 'failed' && state !== 'dead';
}

/** Requires a step to be in the table. */
export function requireTransition(from: WorkerState, to: WorkerState): void {
  if (!canTransition(from, to)) {
    throw new WorkerStateError(
      `Cannot change worker state: from ${from} it can go to ${workerTransitions[from].join(', ') || 'nowhere'}, received ${to}`,
    );
  }
}
