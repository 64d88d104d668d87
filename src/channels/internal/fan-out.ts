/**
 * What `watch` and `broadcast` share: channels whose receivers each see every value. Their senders and receivers are counted, a sender can wait
 * until the receivers are gone, and receivers may come back.
 *
 * Invariants:
 * - The channel ends for its receivers when the last sender is closed, and never opens again: a sender is made by a sender that is open.
 * - That no receiver is left is no end: it is looked at again when a waiter is woken.
 */
import { SendError } from '../errors.js';
import { NOTHING, park, type Watchable } from './parking.js';
import { signalOf, type WaitOptions } from './wait.js';
import { ParkingLot } from './waiters.js';

/** The counts of a channel, and the waiters for their changes. */
export class FanOutState {
  senders = 0;
  receivers = 0;
  /** The waiters for a value or the end: each receiver has a part of its own. */
  readonly arrivals: ParkingLot = new ParkingLot();
  /** The waiters for the last receiver to go: each sender has a part of its own. */
  readonly departures: ParkingLot = new ParkingLot();

  /** Whether the last sender is gone. */
  get isEnded(): boolean {
    return this.senders === 0;
  }

  removeSender(): void {
    if (--this.senders === 0) this.arrivals.wakeAll();
  }

  removeReceiver(): void {
    if (--this.receivers === 0) this.departures.wakeAll();
  }
}

/** The part that the senders of `watch` and `broadcast` share. */
export abstract class FanOutSender implements Disposable {
  readonly #state: FanOutState;
  readonly #departed: Watchable<void>;
  #isOpen = true;

  /** @internal */
  constructor(state: FanOutState) {
    this.#state = state;
    const lot = new ParkingLot(state.departures);
    this.#departed = { look: () => (this.isClosed ? undefined : NOTHING), lot, later: true };
    state.senders++;
  }

  /** The number of receivers. */
  get receiverCount(): number {
    return this.#state.receivers;
  }

  /** Whether the channel has no receiver now, or this sender is closed. */
  get isClosed(): boolean {
    return !this.#isOpen || this.#state.receivers === 0;
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

  /** Closes this sender. The last one to close ends the channel: receivers still see the values that are kept. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#departed.lot.wakeAll();
    this.#state.removeSender();
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal Throws with a value when this sender is closed. */
  protected requireOpen(action: string, value: unknown): void {
    if (!this.#isOpen) throw new SendError(`${action}: this sender is closed`, value);
  }

  /** @internal */
  protected requireCloneable(): void {
    if (!this.#isOpen) throw new SendError('Cannot clone sender: it is closed', undefined);
  }
}
