/**
 * What every waiting method takes, what every `tryRecv` gives, and the checks of the options that several methods share.
 */
import { type Clock, faultOf, requireFunction, requireOptions, requireSignal } from '../../core/index.js';

/** The options of every waiting method. */
export interface WaitOptions {
  /** Abandons the wait: its promise rejects with `signal.reason`, and nothing has been taken. */
  readonly signal?: AbortSignal | undefined;
}

/** The result of a `tryRecv`. */
export type TryRecvResult<T> =
  | { readonly state: 'ok'; readonly value: T }
  /** More may come. */
  | { readonly state: 'empty' }
  /** Nothing will ever come. `reason` is what a sender of an `mpsc` channel closed with. */
  | { readonly state: 'closed'; readonly reason?: unknown };

/** What a `tryRecv` of a broadcast receiver gives, beside a {@link TryRecvResult}, when values were overwritten before it read them. */
export interface LaggedResult {
  /** Tells it from the other results. */
  readonly state: 'lagged';
  /** The number of values that the receiver lost. */
  readonly skipped: number;
}

const SIGNAL: readonly 'signal'[] = ['signal'];

/** Reads the signal from the options of a wait, and refuses unknown options. */
export function signalOf<O extends WaitOptions>(
  action: string,
  options: O | undefined,
  known: readonly (keyof O & string)[] = SIGNAL,
): AbortSignal | undefined {
  if (options === undefined) return undefined;
  const { signal } = requireOptions(action, options, known);
  return signal === undefined ? undefined : requireSignal(action, signal);
}

/** Requires a clock. */
export function requireClock(action: string, value: unknown): Clock {
  requireFunction(action, 'clock.now', (value as Clock | null)?.now);
  requireFunction(action, 'clock.setTimer', (value as Clock | null)?.setTimer);
  return value as Clock;
}

/** Requires a point in time, in ms on a clock. */
export function requireInstant(action: string, name: string, value: unknown): number {
  if (typeof value === 'number' && !Number.isNaN(value)) return value;
  throw faultOf(action, name, 'a number of milliseconds', value, typeof value === 'number' ? RangeError : TypeError);
}
