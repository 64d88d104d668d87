import { faultOf, isSignal, requireBoolean, requireFunction } from '../../core/index.js';
import type { Arms, SelectOptions } from './arms.js';
import { type Order, ShuffledOrder, seededRandom } from './order.js';
import { promiseSource } from './promise-source.js';
import type { Selectable, SelectSource } from './selectable.js';
import { SignalSource } from './signal-source.js';

/** Checked arms, and how they are gone through. */
export interface Plan {
  readonly names: readonly string[];
  readonly sources: readonly SelectSource<unknown>[];
  /** Whether any source wants to be prepared. */
  readonly prepares: boolean;
  /** That in which they were written, if none. */
  readonly order: Order | null;
}

const INTEGER = /^(?:0|[1-9]\d*)$/;
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
    if (INTEGER.test(name)) {
      throw faultOf(action, 'the name of an arm', 'anything but an integer', name);
    }
    if (!arm) continue;
    const source = sourceOf(action, name, arm);
    if (source.prepare !== undefined) prepares = true;
    names.push(name);
    sources.push(source);
  }
  if (names.length === 0) throw new TypeError(`${action}: at least one arm must be enabled, received none`);
  return { names, sources, prepares, order: orderOf(action, names.length, options, usual) };
}

function sourceOf(action: string, name: string, arm: unknown): SelectSource<unknown> {
  if (typeof (arm as Partial<Selectable<unknown>>).selectSource === 'function') {
    return (arm as Selectable<unknown>).selectSource();
  }
  if (isSignal(arm)) return new SignalSource(arm);
  if (typeof (arm as { then?: unknown }).then === 'function') return promiseSource(arm as PromiseLike<unknown>);
  const expected = 'a receiver, a signal, a promise or another arm, or be falsy';
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
