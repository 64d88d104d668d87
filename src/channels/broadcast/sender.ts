import { requireFunction, requireOptions, requirePositiveInteger } from '../../core/index.js';
import { Receiver } from './receiver.js';
import { BroadcastState } from './state.js';
import { SendError } from '../errors.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { NOTHING, ParkingLot, park, type Watchable } from '../internal/parking.js';

const MAX_CAPACITY = 2 ** 31 - 1;

/** Options of {@link channel}. */
export interface ChannelOptions<T> {
  /**
   * Makes each receiver's own copy of a value, when that receiver reads it; `structuredClone` is one. Without it all receivers share the value.
   * When it throws, that receive fails and the value is lost to that receiver.
   */
  readonly clone?: ((value: T) => T) | undefined;
}

/**
 * Makes a broadcast channel: every receiver sees every value sent after it subscribed.
 *
 * A sender never waits for slow receivers. The last `capacity` values are kept; a receiver that falls further behind is told by `LaggedError`
 * exactly how many it has lost, and goes on with the oldest that is kept. A value is let go once every receiver has read it.
 *
 * @param capacity How many values are kept: exactly so many (tokio rounds up to a power of two).
 * @param options.clone Makes each receiver's own copy of a value.
 * @returns A sender and a receiver.
 * @throws RangeError When the capacity is not a positive integer up to 2,147,483,647.
 * @example
 * ```ts
 * const [tx, rx] = broadcast.channel<string>(16);
 * tx.send('ready');
 * tx.close();
 * const seen: string[] = [];
 * for await (const event of rx) seen.push(event);
 * seen; // => ['ready']
 * ```
 */
export function channel<T>(capacity: number, options?: ChannelOptions<T>): [Sender<T>, Receiver<T>] {
  const state = newState(capacity, options);
  return [new Sender(state), new Receiver(state)];
}

/**
 * Makes a broadcast channel without a receiver: it is closed until somebody subscribes.
 *
 * @param capacity How many values are kept.
 * @param options.clone Makes each receiver's own copy of a value.
 * @returns A sender.
 */
export function sender<T>(capacity: number, options?: ChannelOptions<T>): Sender<T> {
  return new Sender(newState(capacity, options));
}

function newState<T>(capacity: number, options: ChannelOptions<T> | undefined): BroadcastState<T> {
  const action = 'Cannot create broadcast channel';
  requirePositiveInteger(action, 'capacity', capacity, MAX_CAPACITY);
  const { clone } = requireOptions(action, options, ['clone']);
  if (clone !== undefined) requireFunction(action, 'clone', clone);
  return new BroadcastState(capacity, clone);
}

/** The sending half of a {@link channel}. Senders can be cloned; the channel ends for its receivers when the last one is closed. */
export class Sender<in out T> implements Disposable {
  readonly #state: BroadcastState<T>;
  readonly #departed: Watchable<void>;
  #open = true;

  /** @internal */
  constructor(state: BroadcastState<T>) {
    this.#state = state;
    const lot = new ParkingLot(state.departures);
    this.#departed = { look: () => (this.isClosed ? undefined : NOTHING), lot, later: true };
    state.senders++;
  }

  /**
   * Sends a value to every receiver there is. It never waits: when the channel is full, the oldest value is overwritten, and receivers that
   * had not read it are told so by `LaggedError`.
   *
   * @param value What to send.
   * @returns How many receivers will see it.
   * @throws SendError When there is no receiver, or this sender is closed; the value is in `error.value`.
   * @example
   * ```ts
   * const [tx, rx] = broadcast.channel<number>(16);
   * const other = tx.subscribe();
   * tx.send(1); // => 2
   * rx.tryRecv(); // => { state: 'ok', value: 1 }
   * other.tryRecv(); // => { state: 'ok', value: 1 }
   * ```
   */
  send(value: T): number {
    if (!this.#open) throw new SendError('Cannot send: this sender is closed', value);
    const { receivers, ring, arrivals } = this.#state;
    if (receivers === 0) throw new SendError('Cannot send: the broadcast channel has no receiver', value);
    ring.push(value, receivers);
    arrivals.wakeAll();
    return receivers;
  }

  /** A new receiver, which starts with the next value that is sent. */
  subscribe(): Receiver<T> {
    return new Receiver(this.#state);
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

  /** A handle that does not keep the channel open for its receivers. */
  downgrade(): WeakSender<T> {
    return new WeakSender(this.#state);
  }

  /** How many values are kept for receivers that have still to read them. */
  get len(): number {
    return this.#state.ring.held;
  }

  /** Whether every value has been read by every receiver. */
  get isEmpty(): boolean {
    return this.len === 0;
  }

  /** How many values are kept at most: exactly what {@link channel} was given. */
  get capacity(): number {
    return this.#state.ring.capacity;
  }

  /** How many receivers there are. */
  get receiverCount(): number {
    return this.#state.receivers;
  }

  /** How many senders there are. */
  get strongCount(): number {
    return this.#state.senders;
  }

  /** How many weak senders there are. */
  get weakCount(): number {
    return this.#state.weakSenders;
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

  /** Whether another sender sends into the same channel; false for anything else. */
  sameChannel(other: Sender<T>): boolean {
    return other instanceof Sender && other.#state === this.#state;
  }

  /** Lets go of the channel; the last sender to do so ends it: receivers read what is kept, then the end. */
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

/** A handle on a broadcast channel that does not keep it open for its receivers. */
export class WeakSender<in out T> implements Disposable {
  readonly #state: BroadcastState<T>;
  #open = true;

  /** @internal */
  constructor(state: BroadcastState<T>) {
    this.#state = state;
    state.weakSenders++;
  }

  /** A sender, as long as there is another one; undefined once the last has gone. */
  upgrade(): Sender<T> | undefined {
    return this.#state.ended || !this.#open ? undefined : new Sender(this.#state);
  }

  /**
   * Another weak sender.
   *
   * @throws SendError When this one is closed.
   */
  clone(): WeakSender<T> {
    if (!this.#open) throw new SendError('Cannot clone weak sender: it is closed', undefined);
    return new WeakSender(this.#state);
  }

  /** How many senders there are. */
  get strongCount(): number {
    return this.#state.senders;
  }

  /** How many weak senders there are. */
  get weakCount(): number {
    return this.#state.weakSenders;
  }

  /** Lets go of the channel. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#state.weakSenders--;
  }

  /** The same as {@link WeakSender.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
