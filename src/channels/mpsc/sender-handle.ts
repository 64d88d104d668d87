import { SendError } from '../errors.js';
import { readyVoid, rejected } from '../internal/budget.js';
import { printedAs } from '../internal/inspect.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { ParkingLot, ValueWaiter } from '../internal/waiters.js';
import type { Sender } from './bounded.js';
import type { SendSide } from './chan.js';

/**
 * The part that bounded and unbounded senders share: being counted, being closed, and seeing the receiver go.
 *
 * The channel ends for the receiver when every sender is closed, every permit is used or released and every blocked send is through.
 */
export abstract class SenderHandle<in T> implements Disposable, AsyncDisposable {
  /** @internal */
  readonly chan: SendSide<T>;
  #isOpen = true;
  #closing: ParkingLot | null = null;

  /** @internal */
  constructor(chan: SendSide<T>) {
    this.chan = chan;
  }

  /** Whether every send fails: the receiver has closed or is gone, or this sender is closed. */
  get isClosed(): boolean {
    return this.chan.state !== 'open' || !this.#isOpen;
  }

  /** The number of senders, owned permits included. */
  get strongCount(): number {
    return this.chan.strong;
  }

  /** The number of weak senders. */
  get weakCount(): number {
    return this.chan.weak;
  }

  /**
   * Whether two senders send into the same channel; false for a value that is no sender.
   *
   * @param other Another sender.
   */
  sameChannel(other: SenderHandle<T>): boolean {
    return this.chan === other?.chan;
  }

  /**
   * Waits until the receiver closes or is gone, or this sender is closed; resolves at once ever after.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options A signal that abandons the wait.
   */
  closed(options?: WaitOptions): Promise<void> {
    const signal = signalOf('Cannot wait', options);
    if (signal?.aborted) return rejected(signal.reason);
    if (this.isClosed) return readyVoid();
    const waiter = new ValueWaiter<void>();
    this.closing().push(waiter);
    return waiter.until(signal);
  }

  /**
   * Closes this sender; a second call does nothing.
   *
   * The channel stays open while it has other senders, and blocked sends of this one go through when there is room. A reason reaches the receiver
   * at the end of the channel, after the buffered values: its waits reject with it. Of several reasons the first counts.
   *
   * @param reason The reason that the receiver's waits reject with at the end, such as the error that stopped a producer.
   */
  close(reason?: unknown): void {
    if (!this.leave()) return;
    const { chan } = this;
    if (reason !== undefined) chan.failure ??= { reason };
    chan.dropSender();
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** @internal The waiters for {@link SenderHandle.isClosed}. */
  closing(): ParkingLot {
    this.chan.closing ??= new ParkingLot();
    this.#closing ??= new ParkingLot(this.chan.closing);
    return this.#closing;
  }

  /** @internal Closes this sender, and leaves its count to the caller. @returns False when it was closed. */
  protected leave(): boolean {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    this.#closing?.wakeAll();
    return wasOpen;
  }

  /** @internal Counts one sender more. */
  protected cloned(): SendSide<T> {
    if (!this.#isOpen) throw new SendError('Cannot clone sender: it is closed', undefined);
    this.chan.strong++;
    return this.chan;
  }
}

/** A handle that does not keep its channel open; `S` is the type of its senders. */
export class WeakSender<in T, out S = Sender<T>> implements Disposable {
  /** @internal */
  readonly chan: SendSide<T>;
  /** Typed by the widest channel: a member that takes `SendSide<T>` would make the class invariant in `T`. */
  readonly #toSender: (chan: SendSide<never>) => S;
  #isOpen = true;

  /** @internal */
  constructor(chan: SendSide<T>, toSender: (chan: SendSide<T>) => S) {
    chan.weak++;
    this.chan = chan;
    this.#toSender = toSender as (chan: SendSide<never>) => S;
  }

  /** The number of senders, owned permits included. */
  get strongCount(): number {
    return this.chan.strong;
  }

  /** The number of weak senders. */
  get weakCount(): number {
    return this.chan.weak;
  }

  /** Makes a sender while the channel has another one or an owned permit; undefined afterwards. */
  upgrade(): S | undefined {
    if (!this.#isOpen || this.chan.strong === 0) return undefined;
    this.chan.strong++;
    return this.#toSender(this.chan);
  }

  /**
   * Makes another weak sender.
   *
   * @throws SendError When this one is closed.
   */
  clone(): WeakSender<T, S> {
    if (!this.#isOpen) throw new SendError('Cannot clone sender: it is closed', undefined);
    return new WeakSender(this.chan, this.#toSender);
  }

  /** Closes this weak sender; a second call does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.chan.weak--;
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

printedAs(SenderHandle, 'isClosed', 'strongCount', 'weakCount');
printedAs(WeakSender, 'strongCount', 'weakCount');
