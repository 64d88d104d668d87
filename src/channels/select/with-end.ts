import { faultOf } from '../../core/index.js';
import type { ArmValue } from './plan.js';
import { ENDED, type Poll, READY, type Selectable, type SelectSource, SelectWaiter, type Slot } from './selectable.js';

/**
 * A receiver as an arm that also wins when its channel ends: it wins with `{ done: false, value }`, and with `{ done: true }` at the end and ever
 * after.
 *
 * @param source A receiver, or any other arm that can end.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<number>(1);
 * tx.close();
 * await select({ item: withEnd(rx) }); // => { arm: 'item', value: { done: true, value: undefined } }
 * ```
 */
export function withEnd<T>(source: Selectable<T>): Selectable<IteratorResult<T, undefined>>;
/** The same for one of several kinds of arms. */
export function withEnd<S extends Selectable<unknown>>(source: S): Selectable<IteratorResult<ArmValue<S>, undefined>>;
export function withEnd<T>(source: Selectable<T>): Selectable<IteratorResult<T, undefined>> {
  if (typeof source?.selectSource !== 'function') {
    throw faultOf('Cannot make an arm with its end', 'source', 'a receiver or another arm', source);
  }
  return {
    selectSource: () => new WithEndSource(source.selectSource()),
  };
}

class WithEndSource<T> implements SelectSource<IteratorResult<T, undefined>> {
  readonly #inner: SelectSource<T>;

  constructor(inner: SelectSource<T>) {
    this.#inner = inner;
  }

  prepare(): boolean {
    return this.#inner.prepare?.() ?? false;
  }

  poll(slot: Slot): Poll {
    const found = this.#inner.poll(slot);
    if (found === READY) slot.value = { done: false, value: slot.value };
    else if (found === ENDED) slot.value = { done: true, value: undefined };
    else return found;
    return READY;
  }

  register(waiter: SelectWaiter): void {
    const link = new EndLink(waiter);
    waiter.link = link;
    this.#inner.register(link);
  }

  unregister(waiter: SelectWaiter): void {
    this.#inner.unregister(waiter.link as EndLink);
    waiter.link = null;
  }

  isEnded(): boolean {
    return false;
  }
}

class EndLink extends SelectWaiter {
  readonly #target: SelectWaiter;

  constructor(target: SelectWaiter) {
    super();
    this.#target = target;
  }

  override deliver(value: unknown): void {
    this.#target.deliver({ done: false, value });
  }

  override deliverLate(read: () => unknown, undo?: () => void): void {
    this.#target.deliverLate(() => ({ done: false, value: read() }), undo);
  }

  override end(): void {
    this.#target.deliver({ done: true, value: undefined });
  }

  override fail(reason: unknown): void {
    this.#target.fail(reason);
  }
}
