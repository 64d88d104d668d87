/**
 * A promise as an arm.
 *
 * Invariants:
 * - A promise is subscribed once for its life, however often and wherever it is raced: `then` leaves a reaction that cannot be taken back, and
 *   a race repeated over one promise would pile them up (nodejs/node#17469).
 * - A promise of the language is subscribed when it becomes an arm; one of a subclass or another realm is only marked as handled, and any other
 *   thenable left alone, until it is first looked at: its `then` may be what starts the work. So a promise that is off and rejects counts as handled.
 * - Until one that has settled already could have said so, everybody who looks is told to come back.
 * - The source lives as long as its promise. A waiter that is withdrawn leaves nothing in it.
 */
import { DONE, markHandled } from '../internal/budget.js';
import { unlink, type Waiter, WaiterList } from '../internal/waiters.js';
import { FAILED, PENDING, type Poll, READY, type SelectSource, type SelectWaiter, type Slot } from './selectable.js';

class PromiseSource implements SelectSource<unknown> {
  // Held only until the subscription: afterwards the promise holds the source, not the other way round.
  #promise: PromiseLike<unknown> | null;
  #asking = true;
  #state: Poll = PENDING;
  #value: unknown = undefined;
  readonly #waiters: WaiterList<Waiter<unknown>> = new WaiterList();

  constructor(promise: PromiseLike<unknown>) {
    this.#promise = promise;
  }

  prepare(): boolean {
    const promise = this.#promise;
    if (promise === null) return this.#asking;
    this.#promise = null;
    const own = Promise.resolve(promise);
    own.then(
      (value) => this.#settle(READY, value),
      (reason) => this.#settle(FAILED, reason),
    );
    // As many hops as a thenable takes that calls back at once: a promise of the language one, any other is asked and adopted first.
    void (own === promise ? DONE : new Promise((resolve) => resolve(DONE))).then(() => {
      this.#asking = false;
    });
    return true;
  }

  #settle(state: typeof READY | typeof FAILED, value: unknown): void {
    this.#state = state;
    this.#value = value;
    this.#waiters.drain((waiter) => (state === READY ? waiter.deliver(value) : waiter.fail(value)));
  }

  poll(slot: Slot): Poll {
    slot.value = this.#value;
    return this.#state;
  }

  register(waiter: SelectWaiter): void {
    this.#waiters.push(waiter);
  }

  unregister(waiter: SelectWaiter): void {
    unlink(waiter);
  }

  isEnded(): boolean {
    return false;
  }
}

const sources = new WeakMap<PromiseLike<unknown>, PromiseSource>();

/** The one source of a promise. */
export function promiseSource(promise: PromiseLike<unknown>): SelectSource<unknown> {
  let source = sources.get(promise);
  if (source === undefined) {
    source = new PromiseSource(promise);
    sources.set(promise, source);
    if (promise.constructor === Promise) source.prepare();
    else markHandled(promise);
  }
  return source;
}
