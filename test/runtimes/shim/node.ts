/** In place of `node:*` in the suites: the listeners of a signal are counted here, and all else needs Node. */
import { NodeOnly } from './node-only.js';

const listeners = new WeakMap<EventTarget, Map<string, Set<unknown>>>();
const { addEventListener, removeEventListener } = EventTarget.prototype;
const kept = (target: EventTarget, type: string): Set<unknown> => {
  let types = listeners.get(target);
  if (types === undefined) {
    types = new Map();
    listeners.set(target, types);
  }
  let set = types.get(type);
  if (set === undefined) {
    set = new Set();
    types.set(type, set);
  }
  return set;
};
// On the class that has it, so that nothing but a signal's listeners is counted.
for (const name of ['addEventListener', 'removeEventListener'] as const) {
  const own = name === 'addEventListener' ? addEventListener : removeEventListener;
  Object.defineProperty(AbortSignal.prototype, name, {
    configurable: true,
    writable: true,
    value(this: AbortSignal, type: string, listener: unknown, options?: unknown) {
      const set = kept(this, type);
      if (name === 'addEventListener') set.add(listener);
      else set.delete(listener);
      return Reflect.apply(own, this, [type, listener, options]);
    },
  });
}

export const getEventListeners = (target: EventTarget, type: string): unknown[] => [...kept(target, type)];

const needs = (what: string): never => {
  throw new NodeOnly(what);
};
const lacking = (what: string): never =>
  new Proxy(class {}, { apply: () => needs(what), construct: () => needs(what), get: () => needs(what) }) as never;

/** Where a runtime collects garbage when it likes. */
export const noCollection = (): never => needs('gc');

export const inspect = (): never => needs('inspect');
export const once = (): never => needs('once');
export const promisify = (): never => needs('promisify');
export const setMaxListeners = (): void => {};
export const EventEmitter = lacking('EventEmitter');
export const finished = (): never => needs('finished');
export const Readable = lacking('Readable');
export const Writable = lacking('Writable');
export const Duplex = lacking('Duplex');
export const PassThrough = lacking('PassThrough');
export default lacking('a module of Node');
