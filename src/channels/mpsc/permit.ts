import { PermitError } from '../errors.js';
import type { Sender } from './bounded.js';
import type { SendSide } from './chan.js';

/**
 * A slot of a bounded channel that is held for one value: sending on it never waits and never finds the channel full.
 *
 * A permit keeps the channel open for the receiver until it is used or released. Its value is delivered although the receiver has closed meanwhile;
 * when the receiver is gone the value goes to the channel's `onUndelivered`.
 */
export class Permit<in T> implements Disposable {
  #chan: SendSide<T> | null;

  /** @internal */
  constructor(chan: SendSide<T>) {
    this.#chan = chan;
  }

  /** Whether the permit was used or released. */
  get isUsed(): boolean {
    return this.#chan === null;
  }

  /**
   * Sends a value into the slot.
   *
   * @param value Any value.
   * @throws PermitError When the permit was used or released.
   * @example
   * ```ts
   * const [tx, rx] = mpsc.channel<string>(1);
   * const permit = await tx.reserve();
   * permit.send('in');
   * rx.tryRecv(); // => { state: 'ok', value: 'in' }
   * ```
   */
  send(value: T): void {
    const chan = this.#chan;
    if (chan === null) throw usedBefore('Cannot send');
    this.#chan = null;
    chan.put(value);
  }

  /** Gives the slot back, to the next waiting sender. A permit that was used or released ignores it. */
  release(): void {
    const chan = this.#chan;
    if (chan === null) return;
    this.#chan = null;
    chan.release(1);
  }

  /** Does what {@link Permit.release} does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Several slots of a bounded channel, given out one permit at a time.
 *
 * Slots that are not given out when the iteration is left, or disposed of, go back to the channel. Permits given out are independent.
 */
export class PermitIterator<in T> implements IterableIterator<Permit<T>>, Disposable {
  readonly #chan: SendSide<T>;
  #left: number;

  /** @internal */
  constructor(chan: SendSide<T>, slots: number) {
    this.#chan = chan;
    this.#left = slots;
  }

  /** The number of permits left. */
  get len(): number {
    return this.#left;
  }

  /** Gives the next permit. */
  next(): IteratorResult<Permit<T>, undefined> {
    if (this.#left === 0) return { done: true, value: undefined };
    this.#left--;
    return { done: false, value: new Permit(this.#chan) };
  }

  /** Gives the slots left back; called by a `for of` that is left early. */
  return(): IteratorResult<Permit<T>, undefined> {
    this.release();
    return { done: true, value: undefined };
  }

  /** Gives the slots left back. */
  release(): void {
    const left = this.#left;
    this.#left = 0;
    if (left > 0) this.#chan.release(left);
  }

  [Symbol.iterator](): this {
    return this;
  }

  /** Does what {@link PermitIterator.release} does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * A slot that is held together with the sender it was reserved on: it keeps the channel open as a sender does, and gives the sender back when it is
 * used or released.
 */
export class OwnedPermit<in T> extends Permit<T> {
  readonly #toSender: () => Sender<T>;

  /** @internal */
  constructor(chan: SendSide<T>, toSender: () => Sender<T>) {
    super(chan);
    this.#toSender = toSender;
  }

  /**
   * Sends a value into the slot.
   *
   * @param value Any value.
   * @returns The sender.
   * @throws PermitError When the permit was used or released.
   */
  override send(value: T): Sender<T> {
    super.send(value);
    return this.#toSender();
  }

  /**
   * Gives the slot back, to the next waiting sender.
   *
   * @returns The sender.
   * @throws PermitError When the permit was used or released.
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

function usedBefore(action: string): PermitError {
  return new PermitError(`${action}: the permit was used or released`);
}
