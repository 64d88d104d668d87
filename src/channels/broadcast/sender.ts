import { requireFunction, requireOptions, requirePositiveInteger } from '../../core/index.js';
import { Receiver } from './receiver.js';
import { BroadcastState } from './state.js';
import { SendError } from '../errors.js';
import { FanOutSender } from '../internal/fan-out.js';

const MAX_CAPACITY = 2 ** 31 - 1;

/** The options of {@link channel}. */
export interface ChannelOptions<T> {
  /**
   * Makes each receiver's own copy of a value when it reads it, such as `structuredClone`. Without it all receivers share the value. When it
   * throws, that receive fails and the value is lost to that receiver.
   */
  readonly clone?: ((value: T) => T) | undefined;
}

/**
 * Makes a broadcast channel: every receiver sees every value sent after it subscribed.
 *
 * A sender never waits for slow receivers. The last `capacity` values are kept; a receiver that falls further behind is told by `LaggedError` how
 * many it has lost, and goes on with the oldest value kept. A value is dropped once every receiver has read it.
 *
 * @param capacity The number of values kept: exactly so many (tokio rounds up to a power of two).
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
 * Makes a broadcast channel without a receiver: it is closed until one subscribes.
 *
 * @param capacity The number of values kept.
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

/** The sending half of a {@link channel}. Senders can be cloned; the channel ends for its receivers when the last sender is closed. */
export class Sender<in out T> extends FanOutSender {
  readonly #state: BroadcastState<T>;

  /** @internal */
  constructor(state: BroadcastState<T>) {
    super(state);
    this.#state = state;
  }

  /**
   * Sends a value to every receiver. It never waits: in a full channel the oldest value is overwritten, and receivers that had not read it get a
   * `LaggedError`.
   *
   * @param value Any value.
   * @returns The number of receivers that will see it.
   * @throws SendError When the channel has no receiver, or this sender is closed; `error.value` holds the value.
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
    this.requireOpen('Cannot send', value);
    const { receivers, ring, arrivals } = this.#state;
    if (receivers === 0) throw new SendError('Cannot send: the broadcast channel has no receiver', value);
    ring.push(value, receivers);
    arrivals.wakeAll();
    return receivers;
  }

  /** Makes a receiver, which starts with the next value sent. */
  subscribe(): Receiver<T> {
    return new Receiver(this.#state);
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

  /** Makes a handle that does not keep the channel open for its receivers. */
  downgrade(): WeakSender<T> {
    return new WeakSender(this.#state);
  }

  /** The number of values that some receiver has not read. */
  get len(): number {
    return this.#state.ring.held;
  }

  /** Whether every value has been read by every receiver. */
  get isEmpty(): boolean {
    return this.len === 0;
  }

  /** The number of values that are kept: exactly that given to {@link channel}. */
  get capacity(): number {
    return this.#state.ring.capacity;
  }

  /** The number of senders. */
  get strongCount(): number {
    return this.#state.senders;
  }

  /** The number of weak senders. */
  get weakCount(): number {
    return this.#state.weakSenders;
  }

  /** Whether another sender sends into the same channel; false for a value that is no sender. */
  sameChannel(other: Sender<T>): boolean {
    return other instanceof Sender && other.#state === this.#state;
  }
}

/** A handle to a broadcast channel that does not keep it open for its receivers. */
export class WeakSender<in out T> implements Disposable {
  readonly #state: BroadcastState<T>;
  #open = true;

  /** @internal */
  constructor(state: BroadcastState<T>) {
    this.#state = state;
    state.weakSenders++;
  }

  /** Makes a sender while the channel has another one; undefined afterwards. */
  upgrade(): Sender<T> | undefined {
    return this.#state.isEnded || !this.#open ? undefined : new Sender(this.#state);
  }

  /**
   * Makes another weak sender.
   *
   * @throws SendError When this one is closed.
   */
  clone(): WeakSender<T> {
    if (!this.#open) throw new SendError('Cannot clone sender: it is closed', undefined);
    return new WeakSender(this.#state);
  }

  /** The number of senders. */
  get strongCount(): number {
    return this.#state.senders;
  }

  /** The number of weak senders. */
  get weakCount(): number {
    return this.#state.weakSenders;
  }

  /** Closes this weak sender; a second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#state.weakSenders--;
  }

  /** Does what {@link WeakSender.close} does. */
  [Symbol.dispose](): void {
    this.close();
  }
}
