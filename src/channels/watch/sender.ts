import { requireFunction } from '../../core/index.js';
import { SendError } from '../errors.js';
import { FanOutSender } from '../internal/fan-out.js';
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
export class Sender<in out T> extends FanOutSender {
  readonly #state: WatchState<T>;

  /** @internal */
  constructor(state: WatchState<T>) {
    super(state);
    this.#state = state;
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
    this.requireOpen('Cannot send', value);
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
    this.requireOpen('Cannot send', value);
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
    this.requireOpen('Cannot modify value', slot.value);
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
    this.requireCloneable();
    return new Sender(this.#state);
  }

  /** The number of senders. */
  get senderCount(): number {
    return this.#state.senders;
  }

  /** Whether another sender sets the same value; false for a value that is no sender. */
  sameChannel(other: Sender<T>): boolean {
    return other instanceof Sender && other.#state === this.#state;
  }
}
