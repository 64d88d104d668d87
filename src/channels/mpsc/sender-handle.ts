import { SendError } from '../errors.js';
import { readyVoid, rejected } from '../internal/budget.js';
import { printedAs } from '../internal/inspect.js';
import { signalOf, type WaitOptions } from '../internal/options.js';
import { ValueWaiter, ParkingLot } from '../internal/waiters.js';
import type { Sender } from './bounded.js';
import type { SendSide } from './chan.js';

/**
 * What senders of both kinds share: being counted, being closed, and seeing the receiver go.
 *
 * The channel ends for the receiver when every sender is closed, every permit is used or released and every blocked send is through.
 */
export abstract class SenderHandle<in T> implements Disposable, AsyncDisposable {
  /** @internal */
  readonly chan: SendSide<T>;
  /** @internal */
  open = true;
  #closing: ParkingLot | null = null;

  /** @internal */
  constructor(chan: SendSide<T>) {
    this.chan = chan;
  }

  /** Whether a send can only fail: the receiver has closed or is gone, or this sender is closed. */
  get isClosed(): boolean {
    return this.chan.closed || !this.open;
  }

  /** How many senders there are, permits that own one included. */
  get strongCount(): number {
    return this.chan.strong;
  }

  /** How many weak senders there are. */
  get weakCount(): number {
    return this.chan.weak;
  }

  /**
   * Whether two senders send into the same channel; false for anything that is no sender.
   *
   * @param other Another sender.
   */
  sameChannel(other: SenderHandle<T>): boolean {
    return this.chan === other?.chan;
  }

  /**
   * Waits until the receiver closes or is gone, or this sender is closed, and resolves at once ever after.
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
   * The channel stays open while other senders are. Sends of this sender that are still blocked go through when there is room. A reason, where
   * one is given, reaches the receiver when the channel ends, after the buffered values: its waits reject with it. Of several reasons the first
   * counts.
   *
   * @param reason What the receiver's waits reject with at the end, such as the error that stopped a producer.
   */
  close(reason?: unknown): void {
    if (!this.leave()) return;
    const chan = this.chan;
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
    const was = this.open;
    this.open = false;
    this.#closing?.wakeAll();
    return was;
  }

  /** @internal */
  protected cloned(): SendSide<T> {
    if (!this.open) throw new SendError('Cannot clone sender: it is closed', undefined);
    this.chan.strong++;
    return this.chan;
  }
}

printedAs(SenderHandle, 'isClosed', 'strongCount', 'weakCount');

/** A handle to a channel that does not keep it open; `S` is the kind of its senders. */
export class WeakSender<in T, out S = Sender<T>> implements Disposable {
  /** @internal */
  readonly chan: SendSide<T>;
  readonly #toSender: (chan: SendSide<T>) => S;
  #open = true;

  /** @internal */
  constructor(chan: SendSide<T>, toSender: (chan: SendSide<T>) => S) {
    chan.weak++;
    this.chan = chan;
    this.#toSender = toSender;
  }

  /** How many senders there are, permits that own one included. */
  get strongCount(): number {
    return this.chan.strong;
  }

  /** How many weak senders there are. */
  get weakCount(): number {
    return this.chan.weak;
  }

  /** A sender, as long as there is another one or a permit that owns one; nothing afterwards. */
  upgrade(): S | undefined {
    if (!this.#open || this.chan.strong === 0) return undefined;
    this.chan.strong++;
    return this.#toSender(this.chan);
  }

  /** Another weak sender. */
  clone(): WeakSender<T, S> {
    if (!this.#open) throw new SendError('Cannot clone weak sender: it is closed', undefined);
    return new WeakSender(this.chan, this.#toSender);
  }

  /** Lets go of this weak sender; a second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.chan.weak--;
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

printedAs(WeakSender, 'strongCount', 'weakCount');
