import {
  ENDED,
  PENDING,
  type Poll,
  READY,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from '../select/selectable.js';
import { type Waiter, WaiterList } from '../waiters.js';
import type { Chan } from './chan.js';
import { Permit } from './permit.js';
import { ReserveLink } from './sender-waiters.js';

/** A sender as an arm: it wins with a permit. */
export class ReserveSource<T> implements SelectSource<Permit<T>> {
  readonly #chan: Chan<T>;
  readonly #sender: { readonly isClosed: boolean };

  constructor(sender: { readonly chan: Chan<T>; readonly isClosed: boolean }) {
    this.#chan = sender.chan;
    this.#sender = sender;
  }

  poll(slot: Slot): Poll {
    if (this.#sender.isClosed) return ENDED;
    this.#chan.serve();
    if (this.#chan.free === 0) return PENDING;
    this.#chan.free--;
    slot.value = new Permit(this.#chan);
    return READY;
  }

  register(waiter: SelectWaiter): void {
    const chan = this.#chan;
    const link = new ReserveLink<Permit<T>>(waiter, () => new Permit(chan));
    waiter.link = link;
    chan.queueSender(link);
  }

  unregister(waiter: SelectWaiter): void {
    this.#chan.withdrawSender(waiter.link as ReserveLink<Permit<T>>);
    waiter.link = null;
  }

  isEnded(): boolean {
    return this.#sender.isClosed;
  }

  endings(): WaiterList<Waiter<void>>[] {
    this.#chan.closing ??= new WaiterList();
    return [this.#chan.closing];
  }
}
