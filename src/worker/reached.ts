import { hide, isError } from '../core/index.js';
import type { Outcome } from './request.js';

// The replies of calls that failed before their model had them. Kept by reply and not by error: what a getter of an input throws may be anything, a
// primitive or a frozen object among it.
const unreached = new WeakSet<object>();

/** Notes that a call failed before its model had it. Answers the reply. */
export function noteUnreached<R extends object>(reply: R): R {
  unreached.add(reply);
  return reply;
}

const timesInModel = new WeakMap<object, number>();

/** Notes of a call that has run out of time how much of it the model had it for, in ms. */
export function noteTimeInModel(reply: object, ms: number): void {
  timesInModel.set(reply, ms);
}

/**
 * How long the model had a call that has run out of time, in ms; undefined where that is not known.
 *
 * @internal
 */
export function timeInModel(reply: unknown): number | undefined {
  return typeof reply === 'object' && reply !== null ? timesInModel.get(reply) : undefined;
}

/**
 * Says of an error that it is the caller's, where it does not say whose it is and can be told: for what refuses a call, or keeps its input from crossing.
 *
 * @internal
 */
export function blameCaller(error: unknown): void {
  try {
    if (!isError(error) || (error as { fault?: unknown }).fault !== undefined) return;
    hide(error, 'fault', 'caller');
  } catch {
    // A frozen one, or a proxy.
  }
}

/**
 * Whether a call failed before its model had it: it was refused, or its input could not cross to the host.
 *
 * @param reply What the handle answered the call with: a promise, or a stream.
 * @internal
 */
export function failedBeforeModel(reply: unknown): boolean {
  return typeof reply === 'object' && reply !== null && unreached.has(reply);
}

const streamCalls = new WeakMap<object, StreamCall>();

/** How a stream's call stands with its worker, which may have ended it long before its consumer has read it. */
export interface StreamCall {
  /** How long the consumer has held the model back, in ms. */
  readonly heldBackMs: number;
  /** Called once, when the model has ended or failed, or the call was given up. */
  onAnswered: ((outcome: Outcome, error: unknown) => void) | undefined;
}

/** Notes the call behind a stream. */
export function noteStreamCall(stream: object, call: StreamCall): void {
  streamCalls.set(stream, call);
}

/** Notifies the observer of a stream that its call has ended. */
export function tellStreamCall(stream: object, outcome: Outcome, error: unknown): void {
  const call = streamCalls.get(stream);
  const onAnswered = call?.onAnswered;
  if (call !== undefined) call.onAnswered = undefined;
  onAnswered?.(outcome, error);
}

/**
 * The call behind a stream that a handle of this package answered with; undefined for any other.
 *
 * @internal
 */
export function streamCallOf(stream: object): StreamCall | undefined {
  return streamCalls.get(stream);
}
