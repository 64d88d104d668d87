import { requireInstance } from '../../core/index.js';
import { CallbackWaiter, type ParkingLot, unlink, type WaiterList, type WaitNode } from '../internal/waiters.js';
import { ENDED, PENDING, type Poll, READY } from '../select/selectable.js';
import type { Selectable, SelectSource, SelectWaiter, Slot } from '../select/selectable.js';
import { Sender } from './bounded.js';
import type { SendSide, SlotWaiter } from './chan.js';
import { Permit } from './permit.js';

/**
 * A sender as an arm of `select`: it wins with a permit as soon as the channel has room, and is disabled once the channel or the sender is closed.
 *
 * **Cancel safety:** cancel safe, but loses its place: a losing arm holds no slot.
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

class ReserveSource<T> implements SelectSource<Permit<T>> {
  readonly #sender: Sender<T>;

  constructor(sender: Sender<T>) {
    this.#sender = sender;
  }

  poll(slot: Slot): Poll {
    const { chan, isClosed } = this.#sender;
    if (isClosed) return ENDED;
    if (!chan.hold(1)) return PENDING;
    slot.value = new Permit(chan);
    return READY;
  }

  register(waiter: SelectWaiter): void {
    const link = new ReserveLink<T>(this.#sender.chan, waiter);
    waiter.link = link;
    this.#sender.closing().push(link.closing);
    this.#sender.chan.queueSender(link);
  }

  unregister(waiter: SelectWaiter): void {
    (waiter.link as ReserveLink<T>).withdraw();
  }

  isEnded(): boolean {
    return this.#sender.isClosed;
  }

  endings(): ParkingLot[] {
    return [this.#sender.closing()];
  }
}

/** The arm in two queues: that for slots, and that for the close of its sender. */
class ReserveLink<T> implements SlotWaiter {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  need = 1;
  readonly closing: CallbackWaiter<void> = new CallbackWaiter(() => this.end());
  readonly #chan: SendSide<T>;
  readonly #target: SelectWaiter;

  constructor(chan: SendSide<T>, target: SelectWaiter) {
    this.#chan = chan;
    this.#target = target;
  }

  gathered(): number {
    return 0;
  }

  deliver(): void {
    unlink(this.closing);
    this.#target.deliver(new Permit(this.#chan));
  }

  end(): void {
    this.withdraw();
    this.#target.end();
  }

  withdraw(): void {
    unlink(this.closing);
    this.#chan.withdrawSender(this);
  }
}
