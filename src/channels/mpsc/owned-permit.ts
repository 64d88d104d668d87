import { PermitError } from '../closed-errors.js';
import type { Sender } from './bounded.js';
import type { Chan } from './chan.js';

/**
 * A slot held for one value together with the sender it was reserved on: it keeps the channel open like a sender does, and gives the sender
 * back when it is used or released.
 */
export class OwnedPermit<T> implements Disposable {
  #chan: Chan<T> | null;
  readonly #toSender: () => Sender<T>;

  /** @internal */
  constructor(chan: Chan<T>, toSender: () => Sender<T>) {
    this.#chan = chan;
    this.#toSender = toSender;
  }

  /** Whether it was sent on or released. */
  get isUsed(): boolean {
    return this.#chan === null;
  }

  /**
   * Sends the value for which the slot was held.
   *
   * @param value Any value.
   * @returns The sender.
   * @throws PermitError When the permit was used or released before.
   */
  send(value: T): Sender<T> {
    const chan = this.#use('Cannot send');
    const sender = this.#toSender();
    chan.put(value);
    return sender;
  }

  /**
   * Gives the slot back, to the next that waits for one.
   *
   * @returns The sender.
   * @throws PermitError When the permit was used or released before.
   */
  release(): Sender<T> {
    const chan = this.#use('Cannot release');
    const sender = this.#toSender();
    chan.release(1);
    return sender;
  }

  /** Gives the slot back and closes the sender; a permit that was used or released ignores it. */
  [Symbol.dispose](): void {
    if (this.#chan !== null) this.release().close();
  }

  #use(action: string): Chan<T> {
    const chan = this.#chan;
    if (chan === null) throw new PermitError(`${action}: the permit was used or released before`);
    this.#chan = null;
    return chan;
  }
}
