/** Whose fault a failure is: the caller's (bad input, abort), the model's (it threw, hung or crashed) or the system's (disk, network, memory). */
export type Fault = 'caller' | 'model' | 'system';

/** Options of every Millrace error. */
export interface MillraceErrorOptions {
  /** The error that led to it. */
  readonly cause?: unknown;
}

const brand = Symbol.for('millrace.error');

/**
 * The base of every error that Millrace raises on its own account. Argument faults are plain `TypeError` and `RangeError` instead.
 *
 * Each subclass is one failure that a caller can act on, with a stable `code` that starts with `ERR_`.
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
 * Every error of the library by its code. Each layer adds its own, so a program knows those of the layers that it imports; a code shared by
 * classes has their union.
 */
// biome-ignore lint/suspicious/noEmptyInterface: the layers above fill it.
export interface MillraceErrors {}

/** The code of an error of the library. */
export type ErrorCode = keyof MillraceErrors & string;

/** The errors that have a code; for several codes, a union to switch over. */
export type ErrorOf<Code extends ErrorCode = ErrorCode> = {
  [C in Code]: MillraceErrors[C] & { readonly code: C };
}[Code];

/**
 * Tells whether a caught value is a Millrace error. Unlike `instanceof` it also holds for errors that come from another copy of the package.
 *
 * @param error Anything that was caught.
 * @returns True when it is one: a `switch` over its `code` knows every code.
 * @example
 * ```ts
 * isMillraceError(new TypeError('no')); // => false
 * ```
 */
export function isMillraceError(error: unknown): error is ErrorOf;
/**
 * Tells whether a caught value is a Millrace error with a certain code.
 *
 * @param error Anything that was caught.
 * @param code The code it must have, such as `'ERR_CHANNEL_CLOSED'`.
 * @returns True when it is one, of the class that has this code.
 */
export function isMillraceError<Code extends ErrorCode>(error: unknown, code: Code): error is ErrorOf<Code>;
export function isMillraceError(error: unknown, code?: string): boolean {
  if (typeof error !== 'object' || error === null || (error as Record<symbol, unknown>)[brand] !== true) return false;
  return code === undefined || (error as { code?: unknown }).code === code;
}

/**
 * Defines a hidden property: readable by its name, absent from logs, spreads and comparisons. A failed send keeps its value in one,
 * so that printing the error never prints an image.
 */
export function hide(target: object, name: string | symbol, value: unknown): void {
  Object.defineProperty(target, name, { value, configurable: true, writable: true });
}
