/** Whose fault a failure is: the caller's (bad input, abort), the model's (it threw, hung or crashed) or the system's (disk, network, memory). */
export type Fault = 'caller' | 'model' | 'system';

/** What every Millrace error can be given beside its message. */
export interface MillraceErrorOptions {
  readonly cause?: unknown;
}

const brand = Symbol.for('millrace.error');

/**
 * The base of every error that Millrace raises on its own account. Argument faults are plain `TypeError` and `RangeError` instead.
 *
 * Each subclass names one failure that a caller can act on, and carries a stable `code` that starts with `ERR_`.
 */
export abstract class MillraceError extends Error {
  /** A stable code, the same across versions, hosts and copies of the package. */
  abstract readonly code: string;
  /** Whose fault it is; a circuit breaker counts only `'model'` and timeouts. */
  readonly fault: Fault = 'system';

  constructor(message: string, options?: MillraceErrorOptions) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    hide(this, 'name', new.target.name);
  }

  /** @internal */
  get [brand](): true {
    return true;
  }
}

/**
 * Tells whether a caught value is a Millrace error, and optionally one with a certain code. Unlike `instanceof` it also holds for errors that
 * come from another copy of the package.
 *
 * @param error Anything that was caught.
 * @param code The code it must have, such as `'ERR_CHANNEL_CLOSED'`.
 * @returns True when it is one.
 * @example
 * ```ts
 * isMillraceError(new TypeError('no')); // => false
 * ```
 */
export function isMillraceError(error: unknown, code?: string): error is MillraceError {
  if (typeof error !== 'object' || error === null || (error as Record<symbol, unknown>)[brand] !== true) return false;
  return code === undefined || (error as { code?: unknown }).code === code;
}

/**
 * Defines a hidden property: readable by whoever asks for it, absent from logs, spreads and comparisons. A failed send keeps its value in one,
 * so that printing the error never prints an image.
 */
export function hide(target: object, name: string | symbol, value: unknown): void {
  Object.defineProperty(target, name, { value, configurable: true, writable: true });
}
