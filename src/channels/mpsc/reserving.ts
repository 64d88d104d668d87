import { requireInstance } from '../../core/index.js';
import { type ParkingLot, unlink, type WaiterList, type WaitNode, type Wakeable } from '../internal/waiters.js';
import { Sender } from './bounded.js';
import type { SendSide, SlotWaiter } from './chan.js';
import { Permit } from './permit.js';
import {
  type Selectable,
  ENDED,
  PENDING,
  type Poll,
  READY,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from '../select/selectable.js';

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

/** What this needs of a sender. */
interface Reserving<T> {
  readonly chan: SendSide<T>;
  readonly isClosed: boolean;
  closing(): ParkingLot;
}

/** A sender as an arm: it wins with a permit, and ends when the sender is closed or the channel is. */
export class ReserveSource<T> implements SelectSource<Permit<T>> {
  readonly #sender: Reserving<T>;

  constructor(sender: Reserving<T>) {
    this.#sender = sender;
  }

  poll(slot: Slot): Poll {
    const { chan, isClosed } = this.#sender;
    if (isClosed) return ENDED;
    if (chan.free <= 0) return PENDING;
    chan.free--;
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

/** The arm of a select in the queue of a channel, and among the waiters for the sender's end. */
class ReserveLink<T> implements SlotWaiter {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  need = 1;
  readonly closing: ClosingLink;
  readonly #chan: SendSide<T>;
  readonly #target: SelectWaiter;

  constructor(chan: SendSide<T>, target: SelectWaiter) {
    this.#chan = chan;
    this.#target = target;
    this.closing = new ClosingLink(this);
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

class ClosingLink implements Wakeable {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  readonly #link: { end(): void };

  constructor(link: { end(): void }) {
    this.#link = link;
  }

  deliver(): void {
    this.#link.end();
  }
}
