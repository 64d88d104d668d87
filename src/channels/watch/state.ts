/**
 * The state that both ends of a watch channel share.
 *
 * Invariants:
 * - `version` grows by one with every published value; a receiver has seen the value when it has seen that version.
 * - A change is complete before a waiter is woken, so that a wake-up may send, subscribe or close.
 * - Once the last sender is gone the channel never opens again; without receivers it is closed only until one subscribes.
 */
import { ModifyingError } from '../errors.js';
import { ParkingLot } from '../internal/waiters.js';

export class WatchState<T> {
  value: T;
  version = 0;
  senders = 0;
  receivers = 0;
  /** Whether a `sendModify` callback is running. */
  isModifying = false;
  /** The waiters for a change: each receiver has a part of its own. */
  readonly changes: ParkingLot = new ParkingLot();
  /** The waiters for the last receiver to go: each sender has a part of its own. */
  readonly departures: ParkingLot = new ParkingLot();

  constructor(value: T) {
    this.value = value;
  }

  publish(value: T): void {
    if (this.isModifying) {
      throw new ModifyingError('Cannot send: the value is being modified, send it after the callback', value);
    }
    this.value = value;
    this.version++;
    this.changes.wakeAll();
  }

  removeSender(): void {
    if (--this.senders === 0) this.changes.wakeAll();
  }

  removeReceiver(): void {
    if (--this.receivers === 0) this.departures.wakeAll();
  }
}
