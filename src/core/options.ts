/**
 * Option tables. A table declares the check and the default of each option; the list of known keys comes from it, too.
 *
 * ```ts
 * const BATCHER_OPTIONS = {
 *   maxBatch: option(requirePositiveInteger, 16),
 *   signal: option(workingSignal),
 *   run: required(requireFunction<Run>),
 * } satisfies OptionTable<BatcherOptions>;
 *
 * const { maxBatch, signal, run } = fillOptions('Cannot create batcher', options, BATCHER_OPTIONS);
 * ```
 */
import {
  faultOf,
  requireInstance,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireNumber,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireWorkingSignal,
} from './validate.js';

/** Checks one option and returns what travels inwards. Any `requireX(action, name, value)` is one. */
export type Check<T> = (action: string, name: string, value: unknown) => T;

/** One option. `T` is its type once it is filled. */
export interface OptionRow<T> {
  readonly check: Check<T>;
  /** The value of an option that is left out; not checked. */
  readonly fallback: T | undefined;
  /** Whether it must be given. */
  readonly isRequired: boolean;
}

/** The table of an options interface: a key that is missing, or that the interface does not have, does not compile. */
export type OptionTable<Options> = { readonly [K in keyof Options]-?: OptionRow<Options[K]> };

/** The frozen record that a table fills. */
export type Settings<Table> = {
  readonly [K in keyof Table]: Table[K] extends OptionRow<infer T> ? T : never;
};

/** An option that may be left out, with its default. */
export function option<T>(check: Check<T>): OptionRow<T | undefined>;
export function option<T>(check: Check<T>, fallback: NoInfer<T>): OptionRow<T>;
export function option<T>(check: Check<T>, fallback?: T): OptionRow<T | undefined> {
  return { check, fallback, isRequired: false };
}

/** An option that must be given. */
export function required<T>(check: Check<T>): OptionRow<T> {
  return { check, fallback: undefined, isRequired: true };
}

/** A group of options with a table of its own, named `group.option` in messages. Left out, it consists of its defaults. */
export function group<Table extends Readonly<Record<string, OptionRow<unknown>>>>(
  table: Table,
): OptionRow<Settings<Table>> {
  const check: Check<Settings<Table>> = (action, name, value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw faultOf(action, name, 'an object', value);
    }
    return fillOptions(action, value, table, name);
  };
  return { check, fallback: fill('', {}, table, ''), isRequired: false };
}

/**
 * Checks options against their table and fills in the defaults. Each option is read once, so later changes of the object have no effect.
 *
 * @param path Where the options stand in a larger object, as in `breaker`.
 * @returns A frozen record of every option of the table.
 * @throws TypeError, RangeError When an option is unknown, of the wrong type or out of range.
 */
export function fillOptions<Table extends Readonly<Record<string, OptionRow<unknown>>>>(
  action: string,
  options: object | undefined,
  table: Table,
  path: string = '',
): Settings<Table> {
  const given = requireOptions<Record<string, unknown>>(
    path === '' ? action : `${action}: ${path}`,
    options as Record<string, unknown> | undefined,
    Object.keys(table),
  );
  return fill(action, given, table, path === '' ? '' : `${path}.`);
}

function fill<Table extends Readonly<Record<string, OptionRow<unknown>>>>(
  action: string,
  given: Readonly<Record<string, unknown>>,
  table: Table,
  prefix: string,
): Settings<Table> {
  const filled: Record<string, unknown> = {};
  for (const [name, { check, fallback, isRequired }] of Object.entries(table)) {
    const value = given[name];
    filled[name] = value === undefined && !isRequired ? fallback : check(action, prefix + name, value);
  }
  return Object.freeze(filled) as Settings<Table>;
}

/** An integer from 1 to `max`. */
export function positiveIntegerUpTo(max: number): Check<number> {
  return (action, name, value) => requirePositiveInteger(action, name, value, max);
}

/** An integer from 0 to `max`. */
export function nonNegativeIntegerUpTo(max: number): Check<number> {
  return (action, name, value) => requireNonNegativeInteger(action, name, value, max);
}

/** A finite number from `min` to `max`, both included. */
export function numberFrom(min: number, max: number): Check<number> {
  return (action, name, value) => requireNumber(action, name, value, min, max);
}

/** A number of milliseconds, or `Infinity`. */
export const millisecondsOrInfinity: Check<number> = (action, name, value) =>
  requireMilliseconds(action, name, value, { infinite: true });

/** One of a list of values. */
export function oneOf<const T extends readonly (string | number)[]>(allowed: T): Check<T[number]> {
  return (action, name, value) => requireOneOf(action, name, value, allowed);
}

/** An instance of a class, `expected` in words. */
export function instanceOf<T extends object>(expected: string, type: abstract new (...args: never[]) => T): Check<T> {
  return (action, name, value) => requireInstance(action, name, expected, value, type);
}

/** An `AbortSignal` that can be listened to; see `requireWorkingSignal`. */
export const workingSignal: Check<AbortSignal> = (action, _name, value) => requireWorkingSignal(action, value);
