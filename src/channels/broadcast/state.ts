import { FanOutState } from '../internal/fan-out.js';

/** The state that all ends of a broadcast share. A change is complete before a waiter is woken. */
export class BroadcastState<T> extends FanOutState {
  readonly ring: Ring<T>;
  readonly clone: ((value: T) => T) | undefined;
  weakSenders = 0;

  constructor(capacity: number, clone: ((value: T) => T) | undefined) {
    super();
    this.ring = new Ring(capacity);
    this.clone = clone;
  }
}

/**
 * The buffer of a broadcast.
 *
 * Invariants:
 * - Positions count sends from 0 and never go back; position `p` lives in slot `p % capacity`, and the kept window is the last `capacity`
 *   positions before `tail`.
 * - `unread[slot]` is the number of receivers that have not read the value there. At 0 the slot holds no value: a value that every receiver has
 *   read, or abandoned, is not retained.
 * - A receiver is a cursor; it lags when its cursor has left the window.
 */
export class Ring<T> {
  readonly capacity: number;
  /** The position of the next send. */
  tail = 0;
  /** The number of values held. */
  held = 0;
  // Both grow to `capacity` as values come, so that a large capacity costs nothing before it is used.
  readonly #values: (T | undefined)[] = [];
  readonly #unread: number[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** The oldest position kept. */
  get head(): number {
    return Math.max(0, this.tail - this.capacity);
  }

  push(value: T, receivers: number): void {
    const slot = this.tail % this.capacity;
    if (slot === this.#values.length) {
      this.#values.push(value);
      this.#unread.push(receivers);
      this.held++;
    } else {
      if (this.#unread[slot] === 0) this.held++;
      this.#values[slot] = value;
      this.#unread[slot] = receivers;
    }
    this.tail++;
  }

  /** Reads the value at a kept position for one receiver, which must not have read it. */
  read(position: number): T {
    const slot = position % this.capacity;
    const value = this.#values[slot] as T;
    this.#release(slot);
    return value;
  }

  /** Abandons every value from a position on, for one receiver. */
  abandonFrom(position: number): void {
    for (let at = Math.max(position, this.head); at < this.tail; at++) this.#release(at % this.capacity);
  }

  #release(slot: number): void {
    const unread = (this.#unread[slot] as number) - 1;
    this.#unread[slot] = unread;
    if (unread > 0) return;
    this.#values[slot] = undefined;
    this.held--;
  }
}
