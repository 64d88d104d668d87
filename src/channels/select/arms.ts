import type { Selectable } from './selectable.js';

/** What disables an arm. */
export type FalsyArm = false | null | undefined | 0 | 0n | '';

/** What can be an arm of `select`. */
export type Arm = Selectable<unknown> | AbortSignal | PromiseLike<unknown> | FalsyArm;

/** Arms by name. */
export type Arms = { readonly [name: string]: Arm };

/** Arms by name, for a type that may be an interface as well. */
export type ArmsOf<A> = { readonly [K in keyof A]: Arm };

/** What an arm wins with. */
export type ArmValue<A> = A extends FalsyArm
  ? never
  : A extends Selectable<infer T>
    ? T
    : A extends AbortSignal
      ? unknown
      : A extends PromiseLike<unknown>
        ? Awaited<A>
        : never;

/**
 * What a select gives: a discriminated union over the names of its arms, and `null` for the case that no arm can ever win.
 */
export type SelectEvent<A> =
  | {
      [K in keyof A & string]-?: [Exclude<A[K], FalsyArm>] extends [never]
        ? never
        : { readonly arm: K; readonly value: ArmValue<Exclude<A[K], FalsyArm>> };
    }[keyof A & string]
  | { readonly arm: null; readonly value?: never };

/** Refuses names that look like integers: engines list them first, whatever the order they were written in. */
export type CheckedArms<A> = {
  readonly [K in keyof A]: K extends number | `${number}` ? never : A[K];
};

/** How a select chooses among arms that are ready. */
export interface SelectOptions {
  /**
   * Looks at the arms in the order in which they are written, so that the first that is ready wins. By default the order changes, so that none
   * starves.
   */
  readonly biased?: boolean | undefined;
  /** Draws the order from a generator with this seed, so that the choices can be repeated. */
  readonly seed?: number | undefined;
  /** Draws the order from this generator: numbers from 0 up to but not including 1. */
  readonly random?: (() => number) | undefined;
}
