/**
 * Those who wait for slots: a blocked send, a reservation, the arm of `reserving`.
 *
 * Invariant: what a waiter gathered goes with it, into its value or permit when it is granted, back to the channel when it is withdrawn.
 */
import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { SendError } from '../closed-errors.js';
import { mayGoUnseen, refused, settle, spend } from '../budget.js';
import type { PromiseWaiter } from '../promise-waiter.js';
import type { SelectWaiter } from '../select/selectable.js';
import { TimeoutError } from '../time/timeout-error.js';
import type { WaiterList, WaitNode } from '../waiters.js';
import type { Chan, SlotWaiter } from './chan.js';

/**
 * A send that waits for room. It does what a {@link PromiseWaiter} does, but stands by itself: a full channel makes one for each message, and one
 * constructor instead of two is some 6 % of the time of that message.
 */
export class SendWaiter<T, R = void> implements SlotWaiter {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  need = 1;
  readonly chan: Chan<T>;
  readonly value: T | undefined;
  readonly promise: Promise<R>;
  #resolve!: (result: R | Promise<never>) => void;
  #signal: AbortSignal | null = null;

  constructor(chan: Chan<T>, value?: T) {
    spend();
    this.chan = chan;
    this.value = value;
    this.promise = new Promise<R>((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The promise, whose wait is abandoned when the signal fires, if there is one. It must not have fired yet. */
  until(signal: AbortSignal | undefined): Promise<R> {
    if (signal !== undefined) {
      this.#signal = signal;
      addAbortListener(signal, this);
    }
    return this.promise;
  }

  gathered(): number {
    return 0;
  }

  deliver(): void {
    this.chan.put(this.value as T);
    this.resolve(undefined as R);
  }

  // A caller that does not look loses its value, but not the process.
  end(): void {
    mayGoUnseen(this.promise);
    this.resolve(refused(this.refusal()));
  }

  /** Abandons the wait, if it still waits. */
  onAbort(reason: unknown): void {
    if (this.chan.withdrawSender(this)) this.resolve(refused(reason));
  }

  // To resolve with what is rejected is to reject, and needs no function of its own.
  protected resolve(result: R | Promise<never>): void {
    if (this.#signal !== null) removeAbortListener(this.#signal, this);
    this.#signal = null;
    settle(this.#resolve, result);
  }

  protected refusal(): SendError {
    return closedWhileSending(this.value);
  }
}

/** A reservation that waits for its slots, and then turns them into a permit. */
export class ReserveWaiter<T, R> extends SendWaiter<T, R> {
  readonly #wanted: number;
  readonly #toPermit: (chan: Chan<T>, slots: number) => R;

  constructor(chan: Chan<T>, slots: number, toPermit: (chan: Chan<T>, slots: number) => R) {
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

/** The arm of a select that waits for one slot. */
export class ReserveLink<T> implements SlotWaiter {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  need = 1;
  readonly #target: SelectWaiter;
  readonly #toPermit: () => T;

  constructor(target: SelectWaiter, toPermit: () => T) {
    this.#target = target;
    this.#toPermit = toPermit;
  }

  gathered(): number {
    return 0;
  }

  deliver(): void {
    this.#target.deliver(this.#toPermit());
  }

  end(): void {
    this.#target.end();
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
