/**
 * Those who wait for slots: a blocked send, a reservation, the arm of `reserving`.
 *
 * Invariant: what a waiter gathered goes with it, into its value or permit when it is granted, back to the channel when it is withdrawn.
 */
import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { SendError } from '../closed-errors.js';
import { mayGoUnseen, refused, settle, spend } from '../budget.js';
import type { SelectWaiter } from '../select/selectable.js';
import { TimeoutError } from '../time/timeout-error.js';
import type { WaiterList, WaitNode } from '../waiters.js';
import type { Chan, SlotWaiter } from './chan.js';

/**
 * A send that waits for room. It stands by itself, below no base class: one constructor instead of four for what a full channel makes for
 * each message.
 */
export class SendWaiter<T> implements SlotWaiter {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  need = 1;
  readonly chan: Chan<T>;
  readonly value: T | undefined;
  readonly promise: Promise<never>;
  #resolve!: (result: unknown) => void;
  #signal: AbortSignal | null = null;

  constructor(chan: Chan<T>, value?: T) {
    spend();
    this.chan = chan;
    this.value = value;
    this.promise = new Promise<never>((resolve) => {
      this.#resolve = resolve as (result: unknown) => void;
    });
  }

  /** The promise, whose wait is abandoned when the signal fires, if there is one. It must not have fired yet. */
  until(signal: AbortSignal | undefined): Promise<never> {
    if (signal !== undefined) {
      this.#signal = signal;
      addAbortListener(signal, this);
    }
    return this.promise;
  }

  gathered(): number {
    return 0;
  }

  granted(): void {
    this.chan.put(this.value as T);
    this.settle(undefined);
  }

  // A caller that does not look loses its value, but not the process.
  end(): void {
    mayGoUnseen(this.promise);
    this.settle(refused(this.refusal()));
  }

  /** Abandons the wait, if it still waits. */
  onAbort(reason: unknown): void {
    if (this.chan.withdrawSender(this)) this.settle(refused(reason));
  }

  // To resolve with what is rejected is to reject, and needs no function of its own.
  protected settle(result: unknown): void {
    if (this.#signal !== null) removeAbortListener(this.#signal, this);
    this.#signal = null;
    settle(this.#resolve, result);
  }

  protected refusal(): SendError {
    return closedWhileSending(this.value);
  }
}

/** A reservation that waits for its slots, and then turns them into a permit. */
export class ReserveWaiter<T, R> extends SendWaiter<T> {
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

  override granted(): void {
    this.settle(this.#toPermit(this.chan, this.#wanted));
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

  granted(): void {
    this.#target.deliver(this.#toPermit());
  }

  end(): void {
    this.#target.end();
  }
}

export function closedWhileSending<T>(value: T): SendError<T> {
  return new SendError('Cannot send: the channel is closed', value);
}

export function noRoomWithin(ms: number, value: unknown): TimeoutError {
  return new TimeoutError(`Cannot send: no room within ${ms} ms`, value);
}

export function closedWhileReserving(): SendError<undefined> {
  return new SendError('Cannot reserve: the channel is closed', undefined);
}
