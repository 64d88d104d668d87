import { Receiver } from './receiver.js';
import { Sender } from './sender.js';
import { WatchState } from './state.js';

/**
 * Makes a watch channel: one value that senders set and receivers look at.
 *
 * Only the newest value is kept. A new receiver has seen the value it finds.
 *
 * @param initial The value until something is sent.
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
 * Makes a watch channel without a receiver: it is closed until somebody subscribes, and its value can be set meanwhile.
 *
 * @param initial The value until something is sent.
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
