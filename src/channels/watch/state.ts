/**
 * The state that both ends of a watch channel share.
 *
 * Invariants:
 * - `version` grows by one with every published value; a receiver has seen the value when it has seen that version.
 * - A change is complete before a waiter is woken, so that a wake-up may send, subscribe or close.
 * - Once the last sender is gone the channel never opens again; without receivers it is closed only until one subscribes.
 */
import { ModifyingError } from '../errors.js';
import { FanOutState } from '../internal/fan-out.js';

export class WatchState<T> extends FanOutState {
  value: T;
  version = 0;
  /** Whether a `sendModify` callback is running. */
  isModifying = false;

  constructor(value: T) {
    super();
    this.value = value;
  }

  publish(value: T): void {
    if (this.isModifying) {
      throw new ModifyingError('Cannot send: the value is being modified, send it after the callback', value);
    }
    this.value = value;
    this.version++;
    this.arrivals.wakeAll();
  }
}
