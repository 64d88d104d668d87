import type { Sender } from './bounded.js';
import type { SendSide } from './chan.js';
import { Permit, usedBefore } from './permit.js';

/**
 * A slot held for one value together with the sender it was reserved on: it keeps the channel open like a sender does, and gives the sender
 * back when it is used or released.
 */
export class OwnedPermit<in T> extends Permit<T> {
  readonly #toSender: () => Sender<T>;

  /** @internal */
  constructor(chan: SendSide<T>, toSender: () => Sender<T>) {
    super(chan);
    this.#toSender = toSender;
  }

  /**
   * Sends the value for which the slot was held.
   *
   * @param value Any value.
   * @returns The sender.
   * @throws PermitError When the permit was used or released before.
   */
  override send(value: T): Sender<T> {
    super.send(value);
    return this.#toSender();
  }

  /**
   * Gives the slot back, to the next that waits for one.
   *
   * @returns The sender.
   * @throws PermitError When the permit was used or released before.
   */
  override release(): Sender<T> {
    if (this.isUsed) throw usedBefore('Cannot release');
    super.release();
    return this.#toSender();
  }

  /** Gives the slot back and closes the sender; a permit that was used or released ignores it. */
  override [Symbol.dispose](): void {
    if (!this.isUsed) this.release().close();
  }
}
