import type { WorkerState } from './worker-state.js';

interface EventBase {
  readonly workerId: string;
  /** When, in ms on the worker's clock. */
  readonly at: number;
}

/** The worker went from one state to another. */
export interface WorkerStateEvent extends EventBase {
  readonly type: 'state';
  readonly from: WorkerState;
  readonly to: WorkerState;
  readonly cause?: unknown;
}

/** A call into the model failed. */
export interface WorkerFailureEvent extends EventBase {
  readonly type: 'failure';
  readonly operation: string;
  readonly error: unknown;
}

/** A result came after its caller had given up, and was dropped. */
export interface WorkerLateEvent extends EventBase {
  readonly type: 'late';
  readonly operation: string;
}

/** The host ended without being asked to. */
export interface WorkerCrashEvent extends EventBase {
  readonly type: 'crash';
  readonly error: unknown;
  /** How many requests it held. */
  readonly held: number;
}

/** The worker made no progress for too long and is being killed. */
export interface WorkerStallEvent extends EventBase {
  readonly type: 'stall';
  /** How long the oldest call has been inside the model, in ms. */
  readonly runningMs: number;
}

/** A replacement is about to be started. */
export interface WorkerRestartEvent extends EventBase {
  readonly type: 'restart';
  /** Which attempt inside the restart budget, from 1. */
  readonly attempt: number;
  /** How long is waited before it, in ms. */
  readonly delayMs: number;
}

/** Something that happened in a worker's life. Never carries inputs or outputs. */
export type WorkerEvent =
  | WorkerStateEvent
  | WorkerFailureEvent
  | WorkerLateEvent
  | WorkerCrashEvent
  | WorkerStallEvent
  | WorkerRestartEvent;
