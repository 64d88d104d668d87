/**
 * Waiting on an `AbortSignal`: {@link addAbortListener} keeps one listener on it, however many wait, and none when nobody does.
 */
import { requireOptions, requireSignal, type Clock, faultOf, requireFunction } from '../../core/index.js';

/** What every waiting method takes. */
export interface WaitOptions {
  /** Abandons the wait: it rejects with `signal.reason`, at once, having done nothing. */
  readonly signal?: AbortSignal | undefined;
}

const SIGNAL: readonly 'signal'[] = ['signal'];

/** Reads the signal out of the options of a wait, and refuses everything else. */
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
