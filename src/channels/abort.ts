/**
 * Waiting on an `AbortSignal`: {@link addAbortListener} keeps one listener on it, however many wait, and none when nobody does.
 */
import { requireOptions, requireSignal } from '../core/index.js';

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
