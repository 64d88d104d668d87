import { addAbortListener, removeAbortListener } from '../core/index.js';
import { RecvError } from './errors.js';
import { ready, rejected, settle } from './internal/budget.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { CallbackWaiter, unlink, type Waiter, WaiterList } from './internal/waiters.js';
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
 * The state that a {@link Notify} shares with its waits.
 *
 * Invariants:
 * - `permit` is set only while the queue is empty.
 * - `calls` counts `notifyWaiters`; a wait that was made before such a call is over, whether or not it had joined the queue.
 */
class NotifyCore implements SelectSource<void> {
  permit = false;
  calls = 0;
  /** Whether the last notification went to the youngest waiter. */
  youngest = false;
  readonly queue: WaiterList<Waiter<void>> = new WaiterList();

  takePermit(): boolean {
    const had = this.permit;
    this.permit = false;
    return had;
  }

  /** Notifies the youngest or the oldest waiter, or stores a permit. */
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
 * Wakes waiting tasks when a state has changed that is kept elsewhere.
 *
 * {@link Notify.notifyOne} wakes the task that has waited longest, or stores one permit for the next wait, so that a notification between a look at
 * the state and the wait is not missed. {@link Notify.notifyWaiters} wakes every waiting task and stores nothing.
 *
 * As an arm of `select` it wins when it is notified, and takes a stored permit.
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

  /** Wakes the oldest waiter, or stores a permit when the queue is empty. Permits do not add up. */
  notifyOne(): void {
    this.#core.notify(false);
  }

  /** Wakes the youngest waiter, or stores a permit when the queue is empty. */
  notifyLast(): void {
    this.#core.notify(true);
  }

  /** Wakes every waiter, and every {@link Notified} that was made before and has not begun to wait. Stores no permit. */
  notifyWaiters(): void {
    this.#core.calls++;
    this.#core.queue.drain((waiter) => waiter.deliver());
  }

  /**
   * Makes a wait for a notification. It joins the queue when it is first awaited, enabled or raced; a {@link Notify.notifyWaiters} after this call
   * counts for it in any case.
   *
   * **Cancel safety:** cancel safe, but loses its place. An aborted wait leaves the queue, and its notification goes to the next.
   *
   * @param options.signal Abandons the wait.
   * @returns The wait, to be awaited or raced.
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

  /** The notification as an arm of `select`. */
  selectSource(): SelectSource<void> {
    return this.#core;
  }
}

/**
 * One wait for one notification, made by {@link Notify.notified}. Await it, or give it to `select`.
 *
 * {@link Notified.enable} joins the queue at once: enable, look at the state, then await, and no {@link Notify.notifyOne} in between is lost. Dispose
 * of an enabled wait that will not be awaited, or its notification is lost.
 */
export class Notified implements PromiseLike<undefined>, Selectable<undefined>, Disposable {
  readonly #core: NotifyCore;
  readonly #calls: number;
  readonly #signal: AbortSignal | undefined;
  #state: 'new' | 'waiting' | 'notified' | 'over' = 'new';
  /** Whether the notification was for one waiter. Unseen, it is passed on to the next oldest or youngest. */
  #forOne = false;
  #youngest = false;
  #reason: unknown = undefined;
  #node: CallbackWaiter<unknown> | undefined = undefined;
  #link: CallbackWaiter<unknown> | undefined = undefined;
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
   * @returns True when it is notified already; false when it is in the queue.
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
   * Waits, as `await` does. Every call sees the same notification.
   *
   * **Cancel safety:** cancel safe, but loses its place.
   */
  then<A = undefined, B = never>(
    onFulfilled?: ((value: undefined) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#wait().then(onFulfilled, onRejected);
  }

  /** Leaves the queue. An unseen notification goes to the next waiter. */
  [Symbol.dispose](): void {
    const state = this.#state;
    if (state === 'over') return;
    this.#state = 'over';
    this.#reason = new RecvError('Cannot wait for a notification: the wait is disposed');
    this.#leave();
    if (state === 'notified' && this.#forOne && this.#promise === undefined) this.#core.notify(this.#youngest);
    if (state === 'waiting') this.#refuse();
  }

  /** The wait as an arm of `select`. */
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
        // A wait that was made for one select and lost it leaves the queue: it must not take a notification with it.
        if (this.#enabled || this.#promise !== undefined || this.#racers.head !== null) return;
        if (this.#state !== 'waiting') return;
        this.#leave();
        this.#state = 'new';
      },
      isEnded: () => false,
    };
  }

  /** Whether it is notified; takes a stored permit. */
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
      const link = new CallbackWaiter<unknown>(() => this.#onAbort());
      addAbortListener(this.#signal, link);
      this.#link = link;
    }
    this.#state = 'waiting';
    this.#node = new CallbackWaiter<unknown>(() => this.#onNotified());
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

  /** Rejects its promise and its arms. */
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
