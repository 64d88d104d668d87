import { requireInstance } from '../../core/index.js';
import { Sender } from '../mpsc/bounded.js';
import type { Permit } from '../mpsc/permit.js';
import { ReserveSource } from '../mpsc/reserve-source.js';
import type { Selectable } from './selectable.js';

/**
 * A sender as an arm: it wins with a permit as soon as there is room, and is disabled once the channel is closed.
 *
 * A losing arm holds no slot and loses its place in the queue.
 *
 * @param sender The sender of a bounded channel.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<string>(1);
 * const event = await select({ room: reserving(tx) });
 * if (event.arm === 'room') event.value.send('in');
 * rx.tryRecv(); // => { state: 'ok', value: 'in' }
 * ```
 */
export function reserving<T>(sender: Sender<T>): Selectable<Permit<T>> {
  requireInstance('Cannot reserve', 'sender', 'the sender of a bounded channel', sender, Sender<T>);
  return { selectSource: () => new ReserveSource<T>(sender) };
}
