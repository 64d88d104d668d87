import { requireMilliseconds, requireOptions, requireString, requireWorkingSignal } from '../core/index.js';
import type { CallOptions } from './handle.js';

const CALL_OPTIONS: readonly (keyof CallOptions)[] = ['signal', 'timeoutMs', 'traceparent'];

/** Checks the options of a call. What the caller does with the object afterwards concerns no call: each option is read once, into a record. */
export function requireCallOptions(operation: string, options: CallOptions): CallOptions {
  const isKnown = hasKnownOptions(options);
  const { signal, timeoutMs, traceparent } = isKnown ? options : requireKnownOptions(operation, options);
  const isPlain = signal === undefined && traceparent === undefined && typeof timeoutMs === 'number' && timeoutMs >= 0;
  if (!isPlain) {
    const action = `Cannot call ${operation}`;
    if (signal !== undefined) requireWorkingSignal(action, signal);
    if (timeoutMs !== undefined) requireMilliseconds(action, 'timeoutMs', timeoutMs, { infinite: true });
    if (traceparent !== undefined) requireString(action, 'traceparent', traceparent);
  }
  return { signal, timeoutMs, traceparent };
}

function requireKnownOptions(operation: string, options: CallOptions): CallOptions {
  return requireOptions<CallOptions>(`Cannot call ${operation}`, options, CALL_OPTIONS);
}

/** The check that most calls pass, without building a list of keys. */
function hasKnownOptions(options: CallOptions): boolean {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return false;
  for (const key in options) if (key !== 'timeoutMs' && key !== 'signal' && key !== 'traceparent') return false;
  return true;
}
