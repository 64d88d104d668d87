import { addAbortListener, removeAbortListener } from '../core/index.js';
import { RecvError } from './errors.js';
import { ready, rejected, settle } from './internal/budget.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { unlink, Waiter, WaiterList } from './internal/waiters.js';
import {
  FAILED,
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type SelectWaiter,
} from './select/selectable.js';

/**
 * What a Notify and its waits share.
 *
 * Invariants:
 * - `permit` is set only while nobody waits.
 * - `calls` counts `notifyWaiters`; a wait that was made before such a call is over, whether or not it had joined the queue.
 */
class NotifyCore implements SelectSource<void> {
  permit = false;
  calls = 0;
  /** Whether the last that was told was told as the youngest. */
  youngest = false;
  readonly queue: WaiterList<Waiter<void>> = new WaiterList();

  takePermit(): boolean {
    const had = this.permit;
    this.permit = false;
    return had;
  }

  /** Tells the youngest, or else the oldest, or leaves a permit. */
  notify(youngest: boolean): void {
    const waiter = youngest ? this.queue.tail : this.queue.head;
    if (waiter === null) {
      this.permit = true;
      return;
    }
    this.queue.remove(waiter);
    this.youngest = youngest;
    waiter.deliver();
  }

  poll(): Poll {
    return this.takePermit() ? READY : PENDING;
  }

  register(waiter: SelectWaiter): void {
    this.queue.push(waiter);
  }

  unregister(waiter: SelectWaiter): void {
    unlink(waiter);
  }

  isEnded(): boolean {
    return false;
  }
}

/**
 * Tells waiting tasks that something has happened, without saying what: the state that changed lies elsewhere.
 *
 * {@link Notify.notifyOne} wakes the task that has waited longest, or leaves one permit for the next that comes, so that a notification between
 * a look at the state and the wait is not missed. {@link Notify.notifyWaiters} wakes everybody who waits and leaves nothing.
 *
 * As an arm of `select` it wins when it is notified, and takes the permit if there is one.
 *
 * @example
 * ```ts
 * const notify = new Notify();
 * const jobs: string[] = [];
 * const worker = (async () => {
 *   while (jobs.length === 0) await notify.notified();
 *   return jobs.shift();
 * })();
 * jobs.push('resize');
 * notify.notifyOne();
 * await worker; // => 'resize'
 * ```
 */
export class Notify implements Selectable<void> {
  readonly #core: NotifyCore = new NotifyCore();

  /** Wakes the oldest waiter, or stores a permit when nobody waits. Permits do not add up: there is one or none. */
  notifyOne(): void {
    this.#core.notify(false);
  }

  /** Wakes the youngest waiter, or stores a permit when nobody waits. */
  notifyLast(): void {
    this.#core.notify(true);
  }

  /** Wakes everybody who waits now, and every {@link Notified} made before that has not begun to wait. Stores no permit. */
  notifyWaiters(): void {
    this.#core.calls++;
    this.#core.queue.drain((waiter) => waiter.deliver());
  }

  /**
   * A wait for a notification. It joins the queue when it is awaited, enabled or raced for the first time, not before; but a
   * {@link Notify.notifyWaiters} that comes after this call counts for it in any case.
   *
   * **Cancel safety:** cancel safe, but loses its place. An aborted wait leaves the queue and its notification goes to the next.
   *
   * @param options.signal Gives the wait up.
   * @returns Something to await.
   * @example
   * ```ts
   * const notify = new Notify();
   * notify.notifyOne();
   * await notify.notified();
   * await notify.notified({ signal: AbortSignal.abort(new RangeError('stop')) }); // throws RangeError
   * ```
   */
  notified(options?: WaitOptions): Notified {
    return new Notified(this.#core, signalOf('Cannot wait for a notification', options));
  }

  /** How `select` looks at this arm. */
  selectSource(): SelectSource<void> {
    return this.#core;
  }
}

/**
 * One wait for one notification, made by {@link Notify.notified}. Await it, or give it to `select`.
 *
 * {@link Notified.enable} takes the place in the queue at once: enable, look at the state, then await, and no {@link Notify.notifyOne} in between
 * is lost. An enabled wait that is not going to be awaited must be disposed, or its notification is lost with it.
 */
export class Notified implements PromiseLike<undefined>, Selectable<undefined>, Disposable {
  readonly #core: NotifyCore;
  readonly #calls: number;
  readonly #signal: AbortSignal | undefined;
  #state: 'new' | 'waiting' | 'notified' | 'over' = 'new';
  /** Whether the notification was meant for one waiter: it is passed on, to one as old or as young, when nobody gets to see it. */
  #forOne = false;
  #youngest = false;
  #reason: unknown = undefined;
  #node: NotifiedNode | undefined = undefined;
  #link: NotifiedNode | undefined = undefined;
  #promise: Promise<undefined> | undefined = undefined;
  #resolve: ((value: undefined) => void) | undefined = undefined;
  #reject: ((reason: unknown) => void) | undefined = undefined;
  readonly #racers: WaiterList<Waiter<undefined>> = new WaiterList();
  #enabled = false;

  /** @internal */
  constructor(core: NotifyCore, signal: AbortSignal | undefined) {
    this.#core = core;
    this.#calls = core.calls;
    this.#signal = signal;
  }

  /**
   * Joins the queue without awaiting, or takes the permit that is there.
   *
   * @returns True when it is notified already, so that awaiting it takes no time; false when it is in the queue.
   * @example
   * ```ts
   * const notify = new Notify();
   * const first = notify.notified();
   * first.enable(); // => false
   * notify.notifyOne();
   * first.enable(); // => true
   * ```
   */
  enable(): boolean {
    if (this.#look()) return true;
    this.#enabled = true;
    this.#join();
    return false;
  }

  /**
   * Waits, as `await` does. It can be called more than once; every call sees the same notification.
   *
   * **Cancel safety:** cancel safe, but loses its place.
   */
  then<A = undefined, B = never>(
    onFulfilled?: ((value: undefined) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#wait().then(onFulfilled, onRejected);
  }

  /** Leaves the queue. A notification that nobody got to see goes to the next waiter. */
  [Symbol.dispose](): void {
    const state = this.#state;
    if (state === 'over') return;
    this.#state = 'over';
    this.#reason = new RecvError('Cannot wait for a notification: the wait is disposed');
    this.#leave();
    if (state === 'notified' && this.#forOne && this.#promise === undefined) this.#core.notify(this.#youngest);
    if (state === 'waiting') this.#refuse();
  }

  /** How `select` looks at this arm. */
  selectSource(): SelectSource<undefined> {
    return {
      poll: (slot) => {
        if (this.#look()) {
          this.#forOne = false;
          return READY;
        }
        if (this.#state !== 'over') return PENDING;
        slot.value = this.#reason;
        return FAILED;
      },
      register: (waiter) => {
        this.#join();
        this.#racers.push(waiter);
      },
      unregister: (waiter) => {
        unlink(waiter);
        // One that was made for a single select and lost it is forgotten: it must not take a notification with it.
        if (this.#enabled || this.#promise !== undefined || this.#racers.head !== null) return;
        if (this.#state !== 'waiting') return;
        this.#leave();
        this.#state = 'new';
      },
      isEnded: () => false,
    };
  }

  /** Whether it is notified; takes a permit if that is what it takes. */
  #look(): boolean {
    if (this.#state !== 'new') return this.#state === 'notified';
    if (this.#signal?.aborted) {
      this.#state = 'over';
      this.#reason = this.#signal.reason;
      return false;
    }
    const missed = this.#core.calls !== this.#calls;
    if (!missed && !this.#core.takePermit()) return false;
    this.#forOne = !missed;
    this.#state = 'notified';
    return true;
  }

  #join(): void {
    if (this.#state !== 'new') return;
    if (this.#signal !== undefined) {
      const link = new NotifiedNode(() => this.#onAbort());
      addAbortListener(this.#signal, link);
      this.#link = link;
    }
    this.#state = 'waiting';
    this.#node = new NotifiedNode(() => this.#onNotified());
    this.#core.queue.push(this.#node);
  }

  #wait(): Promise<undefined> {
    if (this.#promise !== undefined) return this.#promise;
    if (!this.#look()) this.#join();
    if (this.#state === 'notified') this.#promise = ready(undefined);
    else if (this.#state === 'over') this.#promise = rejected(this.#reason);
    else {
      this.#promise = new Promise((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      });
    }
    return this.#promise;
  }

  #onNotified(): void {
    this.#state = 'notified';
    this.#forOne = this.#core.calls === this.#calls;
    this.#youngest = this.#core.youngest;
    this.#leave();
    if (this.#resolve !== undefined) settle(this.#resolve, undefined);
    if (this.#racers.head === null) return;
    this.#forOne = false;
    this.#racers.drain((waiter) => waiter.deliver(undefined));
  }

  #onAbort(): void {
    this.#state = 'over';
    this.#reason = this.#signal?.reason;
    this.#leave();
    this.#refuse();
  }

  /** Tells all who wait on it that it is over. */
  #refuse(): void {
    this.#reject?.(this.#reason);
    this.#racers.drain((waiter) => waiter.fail(this.#reason));
  }

  #leave(): void {
    if (this.#node !== undefined) unlink(this.#node);
    if (this.#link !== undefined && this.#signal !== undefined) removeAbortListener(this.#signal, this.#link);
    this.#node = undefined;
    this.#link = undefined;
  }
}

class NotifiedNode extends Waiter<unknown> {
  readonly #onDeliver: () => void;

  constructor(onDeliver: () => void) {
    super();
    this.#onDeliver = onDeliver;
  }

  override deliver(): void {
    this.#onDeliver();
  }

  override end(): void {}
  override fail(): void {}
}
