import { requireFunction } from '../../core/index.js';
import { SendError } from '../errors.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { NOTHING, park, type Watchable } from '../internal/parking.js';
import { ParkingLot } from '../internal/waiters.js';
import { Receiver } from './receiver.js';
import { WatchState } from './state.js';

/**
 * Makes a watch channel: one value that senders set and receivers look at.
 *
 * Only the newest value is kept. A new receiver has seen the value it finds.
 *
 * @param initial The value before the first send.
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
 * Makes a watch channel without a receiver: it is closed until one subscribes, and its value can be set meanwhile.
 *
 * @param initial The value before the first send.
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

/** The value while {@link Sender.sendModify} or {@link Sender.sendIfModified} change it. */
export interface Slot<T> {
  /** The value: change it, or assign another one. */
  value: T;
}

/**
 * The sending half of a {@link channel}. Clones set the same value; the channel ends for its receivers when the last sender is closed.
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
   * Sets the value and wakes every receiver.
   *
   * A receiver that has not looked since an earlier send sees only this value.
   *
   * @param value The new value.
   * @throws SendError When the channel has no receiver, or this sender is closed; `error.value` holds the value, and the old one stays. Use
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
   * Sets the value, with or without receivers, and returns the old one.
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
   * Changes the value in place, or replaces it, and wakes every receiver. It needs no receivers.
   *
   * @param modify Called once, at once, with a slot that holds the value; the slot's value is published afterwards. When it throws, nothing is
   * published, and the slot's value is dropped. It must not send into the channel.
   * @throws SendError When this sender is closed.
   * @throws ModifyingError From a send within the callback; `error.value` holds the value.
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
   * Does what {@link Sender.sendModify} does if the callback returns true; otherwise the value stays as it was.
   *
   * @param modify Returns whether to publish the slot's value.
   * @returns The result of the callback.
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

  /** The current value. */
  borrow(): T {
    return this.#state.value;
  }

  /** Makes a receiver, which has seen the current value. It reopens a channel that had no receiver. */
  subscribe(): Receiver<T> {
    return new Receiver(this.#state, this.#state.version);
  }

  /**
   * Makes another sender of the same channel.
   *
   * @throws SendError When this sender is closed.
   */
  clone(): Sender<T> {
    if (!this.#open) throw new SendError('Cannot clone sender: it is closed', undefined);
    return new Sender(this.#state);
  }

  /** Whether the channel has no receiver now, or this sender is closed. */
  get isClosed(): boolean {
    return !this.#open || this.#state.receivers === 0;
  }

  /**
   * Waits until the channel has no receiver. A receiver that subscribes in the turn in which the last one goes keeps it waiting.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options.signal Abandons the wait.
   */
  closed(options?: WaitOptions): Promise<void> {
    return park(this.#departed, signalOf('Cannot wait for the receivers to go', options));
  }

  /** The number of receivers. */
  get receiverCount(): number {
    return this.#state.receivers;
  }

  /** The number of senders. */
  get senderCount(): number {
    return this.#state.senders;
  }

  /** Whether another sender sets the same value; false for a value that is no sender. */
  sameChannel(other: Sender<T>): boolean {
    return other instanceof Sender && other.#state === this.#state;
  }

  /** Closes this sender. The last one to close ends the channel; receivers still see the last value. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#departed.lot.wakeAll();
    this.#state.removeSender();
  }

  /** Does what {@link Sender.close} does. */
  [Symbol.dispose](): void {
    this.close();
  }
}
