import { SendError, TimeoutError } from '../errors.js';
import { DONE, mayGoUnseen } from '../internal/budget.js';
import { PromiseWaiter } from '../internal/waiters.js';
import type { Chan, SendSide, SlotWaiter } from './chan.js';

/** What a wait for one value gives. */
export type Received<T> = IteratorResult<T, undefined>;

/** One that may leave all its waits at once. */
export interface WaitOwner<T> {
  /** Those of its waits that have a record. */
  waits: Set<RecvWaiter<T>> | undefined;
}

/** Waits for one value. */
export class RecvWaiter<T> extends PromiseWaiter<T, Received<T>> {
  readonly #owner: WaitOwner<T> | null;

  constructor(owner: WaitOwner<T> | null) {
    super();
    this.#owner = owner;
    if (owner !== null) owner.waits = (owner.waits ?? new Set()).add(this);
  }

  override deliver(value: T): void {
    this.resolve({ done: false, value });
  }

  override end(): void {
    this.resolve({ done: true, value: undefined });
  }

  protected override resolve(result: Received<T> | Promise<never>): void {
    this.#owner?.waits?.delete(this);
    super.resolve(result);
  }
}

/**
 * Waits for at least one value and takes what else has come by the time the caller runs: the first value opens a batch, and the microtask that
 * settles it takes the rest.
 */
export class BatchWaiter<T, R> extends PromiseWaiter<T, R> {
  readonly #values: T[] = [];
  readonly #chan: Chan<T>;
  readonly #limit: number;
  readonly #toResult: (values: T[]) => R;

  /** @param toResult What becomes of the values. What it throws rejects the wait. */
  constructor(chan: Chan<T>, limit: number, toResult: (values: T[]) => R) {
    super();
    this.#chan = chan;
    this.#limit = limit;
    this.#toResult = toResult;
  }

  override deliver(value: T): void {
    this.#values.push(value);
    void DONE.then(() => this.end());
  }

  /** Takes what is there, and settles. */
  override end(): void {
    this.#chan.takeMany(this.#values, this.#limit - this.#values.length);
    try {
      this.resolve(this.#toResult(this.#values));
    } catch (error) {
      this.fail(error);
    }
  }
}

/**
 * The waiters for slots: a blocked send, a reservation.
 *
 * Invariant: what a waiter gathered goes with it, into its value or permit when it is granted, back to the channel when it is withdrawn.
 */

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
