import {
  faultOf,
  isSignal,
  requireBoolean,
  requireFunction,
  addAbortListener,
  removeAbortListener,
} from '../../core/index.js';
import { type Order, ShuffledOrder, seededRandom } from './order.js';
import { promiseSource } from './promise-source.js';
import {
  type Selectable,
  type SelectSource,
  PENDING,
  type Poll,
  READY,
  type SelectWaiter,
  type Slot,
} from './selectable.js';

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

/** Checked arms, and how they are gone through. */
export interface Plan {
  readonly names: readonly string[];
  readonly sources: readonly SelectSource<unknown>[];
  /** Whether any source wants to be prepared. */
  readonly prepares: boolean;
  /** That in which they were written, if none. */
  readonly order: Order | null;
}

/** Checks the arms of a select. `usual` is the order they are looked at in when the options say nothing of it. */
export function planOf(
  action: string,
  arms: Arms,
  options: SelectOptions | undefined,
  usual: (count: number) => Order,
): Plan {
  if (typeof arms !== 'object' || arms === null) {
    throw faultOf(action, 'arms', 'an object', arms);
  }
  const names: string[] = [];
  const sources: SelectSource<unknown>[] = [];
  let prepares = false;
  for (const name of Object.keys(arms)) {
    const arm = arms[name];
    // Objects have such keys in the order of the numbers.
    if (name === String(Number(name) >>> 0)) {
      throw faultOf(action, 'the name of an arm', 'anything but an integer', name);
    }
    if (!arm) continue;
    const source = sourceOf(action, name, arm);
    if (source.prepare !== undefined) prepares = true;
    names.push(name);
    sources.push(source);
  }
  if (names.length === 0) throw new TypeError(`${action}: an arm must be enabled, received none`);
  return { names, sources, prepares, order: orderOf(action, names.length, options, usual) };
}

function sourceOf(action: string, name: string, arm: unknown): SelectSource<unknown> {
  if (typeof (arm as Partial<Selectable<unknown>>).selectSource === 'function') {
    return (arm as Selectable<unknown>).selectSource();
  }
  if (isSignal(arm)) return new SignalSource(arm);
  if (typeof (arm as { then?: unknown }).then === 'function') return promiseSource(arm as PromiseLike<unknown>);
  const expected = 'a receiver, a signal, a promise, an arm or falsy';
  throw faultOf(action, `arm '${name}'`, expected, arm);
}

function orderOf(
  action: string,
  count: number,
  { biased, seed, random }: SelectOptions = {},
  usual: (count: number) => Order,
): Order | null {
  if (biased !== undefined && requireBoolean(action, 'biased', biased)) return null;
  if (random !== undefined) return new ShuffledOrder(count, requireFunction(action, 'random', random));
  if (seed !== undefined) {
    if (!Number.isFinite(seed)) {
      throw faultOf(action, 'seed', 'a finite number', seed);
    }
    return new ShuffledOrder(count, seededRandom(seed));
  }
  return count === 1 ? null : usual(count);
}

/** An `AbortSignal` as an arm: it wins with the signal's reason. */
export class SignalSource implements SelectSource<unknown> {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  poll(slot: Slot): Poll {
    if (!this.#signal.aborted) return PENDING;
    slot.value = this.#signal.reason;
    return READY;
  }

  register(waiter: SelectWaiter): void {
    addAbortListener(this.#signal, waiter);
  }

  unregister(waiter: SelectWaiter): void {
    removeAbortListener(this.#signal, waiter);
  }

  isEnded(): boolean {
    return false;
  }
}
