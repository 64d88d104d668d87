/**
 * The two ends of a channel that crosses a port. Each is a {@link Chan}, so that senders, permits, receivers and `select` work on it unchanged.
 *
 * Invariants:
 * - Each slot of the channel is in one place: free or held by a permit at the sender's end, with a value at the receiver's end, or on the way. A
 *   value carries its slot along, and `taken` brings the slot back, so that no more than `capacity` values are sent and not yet received.
 * - The messages of one channel arrive in the order in which they were posted.
 * - After `closing` the sender's end returns its free slots, and the receiver's end keeps those of the values that it takes. It ends when it has all.
 * - The sender's end keeps each value until it is taken, so that its `onUndelivered` gets those that were not received.
 * - The last message of the sender's end is `end`, and that of the receiver's end is `over`.
 */
import { scheduleMacrotask } from '../../core/index.js';
import { Chan, type ChannelOptions, type SlotWaiter } from '../mpsc/chan.js';
import type { Failure, FromReceiver, FromSender } from './messages.js';

/** What an end needs of its bridge. */
export interface Line<Message> {
  post(message: Message): void;
  /** Posts a value. @throws DataCloneError When it cannot be cloned. */
  postValue(value: unknown, transfer: readonly unknown[] | undefined): void;
  /** Removes the end from the bridge. */
  remove(): void;
}

/** The end that is sent to. */
export class SendEnd<T> extends Chan<T> {
  readonly #line: Line<FromSender>;
  readonly #transferOf: ((value: T) => readonly unknown[]) | undefined;
  /** The values that were posted and not taken yet, oldest first. */
  #sent: T[] = [];
  #isReceiverClosed = false;
  #isEndTold = false;

  constructor(
    capacity: number,
    settings: ChannelOptions<T> | null,
    line: Line<FromSender>,
    transferOf: ((value: T) => readonly unknown[]) | undefined,
  ) {
    super(capacity, settings);
    this.#line = line;
    this.#transferOf = transferOf;
    line.post({ kind: 'open', capacity });
  }

  override put(value: T): void {
    if (this.state === 'ended') {
      super.put(value);
      return;
    }
    this.#sent.push(value);
    try {
      this.#line.postValue(value, this.#transferOf?.(value));
    } catch (error) {
      this.#sent.splice(this.#sent.lastIndexOf(value), 1);
      this.release(1);
      throw error;
    }
    this.#tellEnd();
  }

  override release(slots: number): void {
    super.release(slots);
    if (this.#isReceiverClosed) this.#post({ kind: 'return', slots });
    this.#tellEnd();
  }

  override withdrawSender(waiter: SlotWaiter): boolean {
    const wasWaiting = super.withdrawSender(waiter);
    this.#tellEnd();
    return wasWaiting;
  }

  override dropSender(): void {
    super.dropSender();
    this.#tellEnd();
  }

  hear(message: FromReceiver): void {
    switch (message.kind) {
      case 'taken':
        // Not `this.release`: once the receiver has closed, these slots are with it.
        super.release(this.#sent.splice(0, message.slots).length);
        break;
      case 'closing':
        this.#isReceiverClosed = true;
        this.close();
        if (this.free > 0) this.#post({ kind: 'return', slots: this.free });
        break;
      case 'gone':
        this.lose();
        break;
      case 'over':
        this.#line.remove();
        break;
    }
    this.#tellEnd();
  }

  /** Ends, because the receiver is gone. */
  lose(): void {
    for (const value of this.#sent.splice(0)) this.values.push(value);
    this.drop();
  }

  /** Tells the other end once that no value will come: the channel has ended, or has no sender, permit or waiting sender left. */
  #tellEnd(): void {
    const isSenderless = this.strong === 0 && this.free + this.#sent.length === this.max && !this.senders?.head;
    if (this.state !== 'ended' && !isSenderless) return;
    this.#post({ kind: 'end', failure: this.failure });
    this.#isEndTold = true;
  }

  #post(message: FromSender): void {
    if (!this.#isEndTold) this.#line.post(message);
  }
}

/** The end that is received from. */
export class RecvEnd<T> extends Chan<T> {
  readonly #line: Line<FromReceiver>;
  /** Slots whose values were taken, and of which the sender's end has not been told. */
  #taken = 0;
  #isTelling = false;
  #isOver = false;

  constructor(capacity: number, settings: ChannelOptions<T> | null, line: Line<FromReceiver>) {
    super(capacity, settings);
    this.#line = line;
    // The sender's end has them.
    this.free = 0;
    line.post({ kind: 'open', capacity });
  }

  override release(slots: number): void {
    if (this.state !== 'open' || this.strong === 0) super.release(slots);
    this.#taken += slots;
    // At once when half of the slots are taken, so that a sender does not run dry; else once in a macrotask.
    if (this.#taken * 2 >= this.max) this.#tellTaken();
    else if (!this.#isTelling) {
      this.#isTelling = true;
      scheduleMacrotask(() => {
        this.#isTelling = false;
        this.#tellTaken();
      });
    }
    this.#overIfRead();
  }

  override close(): void {
    if (this.state !== 'open') return;
    this.#tellTaken();
    super.close();
    this.#post({ kind: 'closing' });
  }

  override drop(): void {
    const wasEnded = this.state === 'ended';
    try {
      super.drop();
    } finally {
      // First what was taken: the sender's end gives the rest to its hook.
      this.#tellTaken();
      if (!wasEnded) this.#post({ kind: 'gone' });
      this.#overIfRead();
    }
  }

  hear(message: FromSender): void {
    if (message.kind === 'return') super.release(message.slots);
    else if (message.kind === 'end') this.finish(message.failure);
  }

  /** Ends after the values that are here, because no more will come. A second call does nothing: the end that was told first counts. */
  finish(failure: Failure): void {
    if (this.strong === 0) return;
    this.failure = failure;
    this.strong = 0;
    this.free = this.max - this.values.length;
    this.checkEnd();
    this.#overIfRead();
  }

  #tellTaken(): void {
    const slots = this.#taken;
    this.#taken = 0;
    if (slots > 0) this.#post({ kind: 'taken', slots });
  }

  /** Says goodbye once the sender's end has, and every value is taken. */
  #overIfRead(): void {
    if (this.strong > 0 || this.values.length > 0 || this.#isOver) return;
    this.#tellTaken();
    this.#post({ kind: 'over' });
    this.#isOver = true;
    this.#line.remove();
  }

  #post(message: FromReceiver): void {
    if (!this.#isOver) this.#line.post(message);
  }
}
