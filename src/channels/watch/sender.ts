import { requireFunction } from '../../core/index.js';
import { SendError } from '../errors.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { NOTHING, ParkingLot, park, type Watchable } from '../internal/parking.js';
import { Receiver } from './receiver.js';
import { WatchState } from './state.js';

/**
 * Makes a watch channel: one value that senders set and receivers look at.
 *
 * Only the newest value is kept. A new receiver has seen the value it finds.
 *
 * @param initial The value until something is sent.
 * @returns A sender and a receiver. Both can be cloned.
 * @example
 * ```ts
 * const [tx, rx] = watch.channel('loading');
 * rx.borrow(); // => 'loading'
 * tx.send('ready');
 * const event = await select({ status: rx });
 * event; // => { arm: 'status', value: 'ready' }
 * ```
 */
export function channel<T>(initial: T): [Sender<T>, Receiver<T>] {
  const state = new WatchState(initial);
  return [new Sender(state), new Receiver(state, state.version)];
}

/**
 * Makes a watch channel without a receiver: it is closed until somebody subscribes, and its value can be set meanwhile.
 *
 * @param initial The value until something is sent.
 * @returns A sender.
 * @example
 * ```ts
 * const tx = watch.sender(0);
 * tx.sendReplace(1);
 * tx.subscribe().borrow(); // => 1
 * ```
 */
export function sender<T>(initial: T): Sender<T> {
  return new Sender(new WatchState(initial));
}

/** The place of the value while {@link Sender.sendModify} or {@link Sender.sendIfModified} change it. */
export interface Slot<T> {
  /** The value: change it, or put another in its place. */
  value: T;
}

/**
 * The sending half of a {@link channel}. Senders can be cloned and all set the same value; the channel ends for its receivers when the last one
 * is closed.
 */
export class Sender<in out T> implements Disposable {
  readonly #state: WatchState<T>;
  readonly #departed: Watchable<void>;
  #open = true;

  /** @internal */
  constructor(state: WatchState<T>) {
    this.#state = state;
    const lot = new ParkingLot(state.departures);
    this.#departed = { look: () => (this.isClosed ? undefined : NOTHING), lot, later: true };
    state.senders++;
  }

  /**
   * Sets the value and tells every receiver.
   *
   * A receiver that has not looked since an earlier send sees only this value.
   *
   * @param value The new value.
   * @throws SendError When no receiver is left, or this sender is closed; the value is in `error.value` and the old one stays. Use
   * {@link Sender.sendReplace} to set it all the same.
   * @example
   * ```ts
   * const [tx, rx] = watch.channel(1);
   * tx.send(2);
   * rx.borrowAndUpdate(); // => 2
   * rx.close();
   * tx.send(3); // throws SendError
   * tx.borrow(); // => 2
   * ```
   */
  send(value: T): void {
    if (!this.#open) throw new SendError('Cannot send: this sender is closed', value);
    if (this.#state.receivers === 0) throw new SendError('Cannot send: the watch channel has no receiver', value);
    this.#state.publish(value);
  }

  /**
   * Sets the value whether or not there are receivers, and answers the one it replaces.
   *
   * @param value The new value.
   * @returns The old value.
   * @throws SendError When this sender is closed.
   */
  sendReplace(value: T): T {
    if (!this.#open) throw new SendError('Cannot send: this sender is closed', value);
    const old = this.#state.value;
    this.#state.publish(value);
    return old;
  }

  /**
   * Changes the value in place, or replaces it, and tells every receiver. It needs no receivers.
   *
   * @param modify Called once, at once, with a slot that holds the value; what the slot holds afterwards is published. When it throws, nothing
   * is, and the slot's value is dropped. It must not send into the channel itself.
   * @throws SendError When this sender is closed.
   * @throws ModifyingError Out of a send within the callback; the value is in `error.value`.
   * @example
   * ```ts
   * const [tx, rx] = watch.channel(1);
   * tx.sendModify((slot) => { slot.value += 1; });
   * rx.borrow(); // => 2
   * ```
   */
  sendModify(modify: (slot: Slot<T>) => void): void {
    requireFunction('Cannot modify value', 'modify', modify);
    this.sendIfModified((slot) => {
      modify(slot);
      return true;
    });
  }

  /**
   * As {@link Sender.sendModify}, but tells the receivers only when the callback says that it changed something.
   *
   * @param modify Answers true to publish what the slot holds, false to leave the value as it was.
   * @returns What the callback answered.
   * @throws SendError When this sender is closed.
   */
  sendIfModified(modify: (slot: Slot<T>) => boolean): boolean {
    requireFunction('Cannot modify value', 'modify', modify);
    const state = this.#state;
    const slot = { value: state.value };
    if (!this.#open) throw new SendError('Cannot modify value: this sender is closed', slot.value);
    const wasModifying = state.isModifying;
    state.isModifying = true;
    let modified: boolean;
    try {
      modified = modify(slot);
    } finally {
      state.isModifying = wasModifying;
    }
    if (modified) state.publish(slot.value);
    return modified;
  }

  /** The value there is. */
  borrow(): T {
    return this.#state.value;
  }

  /** A new receiver, which has seen the value there is. It opens a channel again that was closed for want of receivers. */
  subscribe(): Receiver<T> {
    return new Receiver(this.#state, this.#state.version);
  }

  /**
   * Another sender of the same channel.
   *
   * @throws SendError When this sender is closed.
   */
  clone(): Sender<T> {
    if (!this.#open) throw new SendError('Cannot clone sender: it is closed', undefined);
    return new Sender(this.#state);
  }

  /** Whether there is no receiver now (or this sender is closed). */
  get isClosed(): boolean {
    return !this.#open || this.#state.receivers === 0;
  }

  /**
   * Waits until there is no receiver. One that subscribes in the turn in which the last goes keeps it waiting.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options.signal Gives the wait up.
   */
  closed(options?: WaitOptions): Promise<void> {
    return park(this.#departed, signalOf('Cannot wait for the receivers to go', options));
  }

  /** How many receivers there are. */
  get receiverCount(): number {
    return this.#state.receivers;
  }

  /** How many senders there are. */
  get senderCount(): number {
    return this.#state.senders;
  }

  /** Whether another sender sets the same value; false for anything else. */
  sameChannel(other: Sender<T>): boolean {
    return other instanceof Sender && other.#state === this.#state;
  }

  /** Lets go of the channel; the last sender to do so ends it: receivers still see the last value. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#departed.lot.wakeAll();
    this.#state.removeSender();
  }

  /** The same as {@link Sender.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
