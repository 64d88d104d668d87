/**
 * Argument checks for public functions. Every message reads `<action>: <name> must be <expectation>, received <what came>`; a value of the
 * wrong type is a `TypeError`, a value out of range a `RangeError`. They run before any side effect.
 */

/** Options that may be left out or undefined. */
export type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** Options with every default filled in. */
export type Filled<T> = { readonly [K in keyof T]-?: Exclude<T[K], undefined> };

/** Renders a received value for a message, without the contents of a large one. */
export function describeReceived(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length > 40 ? `'${value.slice(0, 40)}'… (${value.length} characters)` : `'${value}'`;
    case 'bigint':
      return `${value}n`;
    case 'function':
      return value.name === '' ? 'a function' : `function ${value.name}`;
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return `an array of ${value.length}`;
      return `an instance of ${(value as object).constructor?.name ?? 'Object'}`;
    default:
      return String(value);
  }
}

/** The error of a wrong argument. */
export function faultOf(
  action: string,
  name: string,
  expected: string,
  value: unknown,
  type: typeof TypeError | typeof RangeError = TypeError,
): Error {
  return new type(`${action}: ${name} must be ${expected}, received ${describeReceived(value)}`);
}

/** The error of a wrong number: a `TypeError` if it is none, else a `RangeError`. */
function numberFaultOf(action: string, name: string, expected: string, value: unknown): Error {
  return faultOf(action, name, expected, value, typeof value === 'number' ? RangeError : TypeError);
}

/** Requires an integer of at least 1 (at most `max`, where given). */
export function requirePositiveInteger(action: string, name: string, value: unknown, max?: number): number {
  return requireInteger(action, name, value, 1, max, 'a positive integer');
}

/** Requires an integer of at least 0 (at most `max`, where given). */
export function requireNonNegativeInteger(action: string, name: string, value: unknown, max?: number): number {
  return requireInteger(action, name, value, 0, max, 'a non-negative integer');
}

function requireInteger(
  action: string,
  name: string,
  value: unknown,
  min: number,
  max: number | undefined,
  kind: string,
): number {
  if (Number.isSafeInteger(value) && (value as number) >= min && !((value as number) > (max as number)))
    return value as number;
  throw numberFaultOf(action, name, max === undefined ? kind : `${kind} up to ${max}`, value);
}

/** Requires a limit: an integer of at least 0, or `Infinity`. */
export function requireLimit(action: string, value: unknown): number {
  return value === Number.POSITIVE_INFINITY ? value : requireNonNegativeInteger(action, 'limit', value);
}

/** Requires a number of milliseconds: at least 0, finite unless `infinite` is allowed. */
export function requireMilliseconds(
  action: string,
  name: string,
  value: unknown,
  options?: { readonly infinite?: boolean },
): number {
  if (typeof value === 'number' && value >= 0 && (Number.isFinite(value) || options?.infinite)) return value;
  const expected = `a${options?.infinite ? '' : ' finite,'} non-negative number of milliseconds`;
  throw numberFaultOf(action, name, expected, value);
}

/** Requires a number of milliseconds; a negative one becomes 0, as for a deadline in the past. */
export function requireDuration(action: string, name: string, value: unknown): number {
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw numberFaultOf(action, name, 'a number of milliseconds', value);
  }
  return Math.max(0, value);
}

/** Requires a finite number from `min` to `max`, both included. */
export function requireNumber(action: string, name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw numberFaultOf(action, name, `a number from ${min} to ${max}`, value);
}

/** Requires a function. */
export function requireFunction<F extends (...args: never[]) => unknown>(
  action: string,
  name: string,
  value: unknown,
): F {
  if (typeof value !== 'function') throw faultOf(action, name, 'a function', value);
  return value as F;
}

/** Requires an instance of a class, `expected` in words. */
export function requireInstance<T extends object>(
  action: string,
  name: string,
  expected: string,
  value: unknown,
  type: abstract new (...args: never[]) => T,
): T {
  if (!(value instanceof type)) throw faultOf(action, name, expected, value);
  return value;
}

/** Requires a string that is not empty. */
export function requireString(action: string, name: string, value: unknown): string {
  if (typeof value !== 'string') throw faultOf(action, name, 'a string', value);
  if (value === '') throw faultOf(action, name, 'a string that is not empty', value, RangeError);
  return value;
}

/** Requires true or false. */
export function requireBoolean(action: string, name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw faultOf(action, name, 'a boolean', value);
  return value;
}

/** Requires one of a list of values. */
export function requireOneOf<const T extends readonly (string | number)[]>(
  action: string,
  name: string,
  value: unknown,
  allowed: T,
): T[number] {
  if (allowed.includes(value as T[number])) return value as T[number];
  const expected = `one of ${allowed.map((each) => (typeof each === 'string' ? `'${each}'` : each)).join(', ')}`;
  if (typeof value !== 'string' && typeof value !== 'number') throw faultOf(action, name, expected, value);
  throw faultOf(action, name, expected, value, RangeError);
}

/** Whether it is an `AbortSignal`, of this realm or another. */
export function isSignal(value: unknown): value is AbortSignal {
  const signal = value as Partial<AbortSignal> | null | undefined;
  return typeof signal?.aborted === 'boolean' && typeof signal.addEventListener === 'function';
}

/** Requires an `AbortSignal`. */
export function requireSignal(action: string, value: unknown): AbortSignal {
  if (!isSignal(value)) throw faultOf(action, 'signal', 'an AbortSignal', value);
  return value;
}

/** Requires an `AbortSignal` that can be listened to. One of another realm is tried, so that it cannot throw during a call. */
export function requireWorkingSignal(action: string, value: unknown): AbortSignal {
  const signal = requireSignal(action, value);
  if ((signal as object) instanceof AbortSignal) return signal;
  const listener = (): void => {};
  try {
    signal.addEventListener('abort', listener);
    signal.removeEventListener('abort', listener);
  } catch {
    throw faultOf(action, 'signal', 'an AbortSignal', value);
  }
  return signal;
}

/**
 * Requires an options object or undefined, and refuses unknown keys, so that a misspelt option is an error.
 *
 * @returns The options, or an empty object.
 */
export function requireOptions<T extends object>(
  action: string,
  value: T | undefined,
  known: readonly (keyof T & string)[],
): Partial<T> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw faultOf(action, 'options', 'an object', value);
  for (const key of Object.keys(value)) {
    if (!known.includes(key as keyof T & string)) {
      throw new TypeError(`${action}: unknown option '${key}', known are ${known.join(', ')}`);
    }
  }
  return value;
}

/** The options that are not undefined, to spread over defaults. */
export function definedOf<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
