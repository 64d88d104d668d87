import { Chan, type ChannelOptions, type SendSide, settingsOf, UNBOUNDED } from './chan.js';
import { Receiver } from './receiver.js';
import { SenderHandle, WeakSender } from './sender-handle.js';
import { closedWhileSending } from './waits.js';

/**
 * Makes an unbounded channel: a send never waits. Only memory bounds it: prefer {@link channel} where producers can outrun the consumer.
 *
 * @param options See {@link ChannelOptions}.
 * @returns The sender, which can be cloned, and the receiver.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.unboundedChannel<number>();
 * tx.send(1);
 * tx.send(2);
 * await rx.recvMany(10); // => [1, 2]
 * ```
 */
export function unboundedChannel<T>(options?: ChannelOptions<T>): [UnboundedSender<T>, Receiver<T>] {
  const chan = new Chan<T>(UNBOUNDED, settingsOf('Cannot create channel', options));
  return [new UnboundedSender(chan), new Receiver(chan)];
}

/** The sending half of an unbounded channel. */
export class UnboundedSender<in T> extends SenderHandle<T> {
  /**
   * Sends a value, at once.
   *
   * @param value Any value.
   * @throws SendError When the receiver has closed or is gone, or this sender is closed; `error.value` holds the value.
   */
  send(value: T): void {
    if (this.isClosed) throw closedWhileSending(value);
    this.chan.offer(value);
  }

  /**
   * Makes another sender into the same channel, counted and closed on its own.
   *
   * @throws SendError When this sender is closed.
   */
  clone(): UnboundedSender<T> {
    return new UnboundedSender(this.cloned());
  }

  /** Makes a handle that does not keep the channel open. */
  downgrade(): WeakUnboundedSender<T> {
    return new WeakSender(this.chan, toSender);
  }
}

/** A handle to an unbounded channel that does not keep it open. */
export type WeakUnboundedSender<T> = WeakSender<T, UnboundedSender<T>>;

function toSender<T>(chan: SendSide<T>): UnboundedSender<T> {
  return new UnboundedSender(chan);
}
