import { requireMilliseconds, requireOptions, requireSignal, requireString } from '../core/index.js';
import type { CallOptions } from './handle.js';

const CALL_OPTIONS: readonly (keyof CallOptions)[] = ['signal', 'timeoutMs', 'traceparent'];

/** Checks the options of a call. */
export function requireCallOptions(operation: string, options: CallOptions): void {
  if (hasKnownOptions(options)) {
    const { signal, timeoutMs, traceparent } = options;
    if (signal === undefined && traceparent === undefined && typeof timeoutMs === 'number' && timeoutMs >= 0) return;
  }
  const action = `Cannot call ${operation}`;
  const given = requireOptions<CallOptions>(action, options, CALL_OPTIONS);
  if (given.signal !== undefined) requireSignal(action, given.signal);
  if (given.timeoutMs !== undefined) requireMilliseconds(action, 'timeoutMs', given.timeoutMs, { infinite: true });
  if (given.traceparent !== undefined) requireString(action, 'traceparent', given.traceparent);
}

/** The check that most calls pass, without building a list of keys. */
function hasKnownOptions(options: CallOptions): boolean {
  if (typeof options !== 'object' || options === null) return false;
  for (const key in options) if (key !== 'timeoutMs' && key !== 'signal' && key !== 'traceparent') return false;
  return true;
}
