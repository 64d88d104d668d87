import { requireFunction, requireOptions, requirePositiveInteger } from '../../core/index.js';
import { Receiver } from './receiver.js';
import { Sender } from './sender.js';
import { BroadcastState } from './state.js';

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
