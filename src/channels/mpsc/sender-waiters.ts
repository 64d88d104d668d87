/**
 * The waiters for slots: a blocked send, a reservation.
 *
 * Invariant: what a waiter gathered goes with it, into its value or permit when it is granted, back to the channel when it is withdrawn.
 */
import { SendError } from '../closed-errors.js';
import { mayGoUnseen } from '../budget.js';
import { PromiseWaiter } from '../promise-waiter.js';
import { TimeoutError } from '../time/timeout-error.js';
import type { SendSide, SlotWaiter } from './chan.js';

/** A send that waits for room. */
export class SendWaiter<T, R = void> extends PromiseWaiter<void, R> implements SlotWaiter {
  need = 1;
  readonly chan: SendSide<T>;
  readonly value: T | undefined;

  constructor(chan: SendSide<T>, value?: T) {
    super();
    this.chan = chan;
    this.value = value;
  }

  gathered(): number {
    return 0;
  }

  override deliver(): void {
    this.chan.put(this.value as T);
    this.resolve(undefined as R);
  }

  // A caller that does not look loses its value, but not the process.
  override end(): void {
    mayGoUnseen(this.promise);
    this.fail(this.refusal());
  }

  protected override withdraw(): boolean {
    return this.chan.withdrawSender(this);
  }

  protected refusal(): SendError {
    return closedWhileSending(this.value);
  }
}

/** A reservation that waits for its slots, and then turns them into a permit. */
export class ReserveWaiter<T, R> extends SendWaiter<T, R> {
  readonly #wanted: number;
  readonly #toPermit: (chan: SendSide<T>, slots: number) => R;

  constructor(chan: SendSide<T>, slots: number, toPermit: (chan: SendSide<T>, slots: number) => R) {
    super(chan);
    this.need = slots;
    this.#wanted = slots;
    this.#toPermit = toPermit;
  }

  override gathered(): number {
    return this.#wanted - this.need;
  }

  override deliver(): void {
    this.resolve(this.#toPermit(this.chan, this.#wanted));
  }

  protected override refusal(): SendError {
    return closedWhileReserving();
  }
}

export function closedWhileSending<T>(value: T): SendError<T> {
  return isClosed('Cannot send', value);
}

export function noRoomWithin(ms: number, value: unknown): TimeoutError {
  return new TimeoutError(`Cannot send: no room within ${ms} ms`, value);
}

export function closedWhileReserving(): SendError<undefined> {
  return isClosed('Cannot reserve', undefined);
}

function isClosed<T>(action: string, value: T): SendError<T> {
  return new SendError(`${action}: the channel is closed`, value);
}
