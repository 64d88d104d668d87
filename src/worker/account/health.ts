import type { WorkerState } from '../state.js';
import type { LatencySummary } from './latency-window.js';

/** A worker's answer to a ping, made by its loop beside the model. */
export interface WorkerHealth {
  readonly state: WorkerState;
  /** How long it has been in that state, in ms. */
  readonly stateMs: number;
  /** Requests that wait in each operation's queue. */
  readonly queueDepth: Readonly<Record<string, number>>;
  /** Requests inside the model. */
  readonly inFlight: number;
  /** How long the oldest request has been inside the model, in ms; 0 when none is. */
  readonly runningMs: number;
  /** Calls that left the model, with or without an error. */
  readonly processed: number;
  /** Calls that left the model with an error. */
  readonly failed: number;
  /** How long calls were inside the model, in ms, over the sliding window. */
  readonly latency: LatencySummary;
  /** The last error of the model; never the input that led to it. */
  readonly lastError: LastError | undefined;
  /** How long the loop has been running, in ms. */
  readonly uptimeMs: number;
  /** The process that runs the model. */
  readonly pid: number;
  /** Resident memory of the process that runs the model, in bytes. */
  readonly rss: number;
  /** What the model's own `health()` said, if it has one; an error's message when it threw, or took longer than 500 ms. */
  readonly model?: unknown;
}

/** An error as a report shows it. */
export interface LastError {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  /** When it came, in ms on the worker's clock. */
  readonly at: number;
}

/** What the loop tells before and after each call into the model, so that a long call can be told from a hang. */
export interface WorkerProgress {
  readonly phase: 'enter' | 'leave';
  readonly operation: string;
  /** How many calls are inside the model now. */
  readonly inFlight: number;
  /** How many calls have left the model so far. */
  readonly processed: number;
  /** When it happened, in ms on the worker's clock. */
  readonly at: number;
}
