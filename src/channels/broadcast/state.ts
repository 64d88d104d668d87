import { ParkingLot } from '../parking.js';
import { Ring } from './ring.js';

/** What all ends of a broadcast share. A change is complete before anybody is woken. */
export class BroadcastState<T> {
  readonly ring: Ring<T>;
  readonly clone: ((value: T) => T) | undefined;
  senders = 0;
  weakSenders = 0;
  receivers = 0;
  /** Set with the last sender: nothing revives a channel that has ended. */
  ended = false;
  /** Receivers that wait for a value: each has a part of its own. */
  readonly arrivals: ParkingLot = new ParkingLot();
  /** Senders that wait for the last receiver to go, likewise. */
  readonly departures: ParkingLot = new ParkingLot();

  constructor(capacity: number, clone: ((value: T) => T) | undefined) {
    this.ring = new Ring(capacity);
    this.clone = clone;
  }

  removeSender(): void {
    if (--this.senders > 0) return;
    this.ended = true;
    this.arrivals.wakeAll();
  }

  removeReceiver(): void {
    if (--this.receivers === 0) this.departures.wakeAll();
  }
}
