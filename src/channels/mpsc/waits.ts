/**
 * The waits of a channel that have a record: receives, batches, blocked sends and reservations.
 *
 * Invariants:
 * - A batch takes its first value in the call that sends it, and the others a microtask later, before its caller runs.
 * - The slots that a sender has gathered go with it: into its value or permit when it is granted, back to the channel when it is withdrawn.
 */
import { SendError } from '../errors.js';
import { DONE, markHandled } from '../internal/budget.js';
import { PromiseWaiter } from '../internal/waiters.js';
import type { Chan, SendSide, SlotWaiter } from './chan.js';

/** The result of a wait for one value. */
export type Received<T> = IteratorResult<T, undefined>;

/** An owner that may abandon all its waits at once. */
export interface WaitOwner<T> {
  /** Its waits that have a record. */
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
 * Waits for at least one value, and appends it to a buffer together with what has come by the time its caller runs. `R` is the number of values, or
 * the buffer.
 */
export class BatchWaiter<T, R extends number | T[]> extends PromiseWaiter<T, R> {
  readonly #chan: Chan<T>;
  readonly #buffer: T[];
  readonly #limit: number;
  readonly #isCounted: boolean;
  #count = 0;

  /** @param isCounted Whether the promise is for the number of values. */
  constructor(chan: Chan<T>, buffer: T[], limit: number, isCounted: boolean) {
    super();
    this.#chan = chan;
    this.#buffer = buffer;
    this.#limit = limit;
    this.#isCounted = isCounted;
  }

  override deliver(value: T): void {
    try {
      this.#buffer.push(value);
    } catch (error) {
      this.fail(error);
      this.#chan.offer(value);
      return;
    }
    this.#count = 1;
    void DONE.then(() => this.end());
  }

  override end(): void {
    try {
      this.#count += this.#chan.takeInto(this.#buffer, this.#limit - this.#count);
      this.resolve((this.#isCounted ? this.#count : this.#buffer) as R);
    } catch (error) {
      this.fail(error);
    }
  }
}

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
    try {
      this.chan.put(this.value as T);
      this.resolve(undefined as R);
    } catch (error) {
      this.fail(error);
    }
  }

  // A caller that ignores the promise loses its value, and not the process.
  override end(): void {
    markHandled(this.promise);
    this.fail(this.refusal());
  }

  protected override withdraw(): boolean {
    return this.chan.withdrawSender(this);
  }

  protected refusal(): SendError {
    return closedWhileSending(this.value);
  }
}

/** A reservation that waits for its slots, and turns them into a permit. */
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
  return closedWhile('send', value);
}

export function closedWhileReserving(): SendError<undefined> {
  return closedWhile('reserve', undefined);
}

function closedWhile<T>(doing: string, value: T): SendError<T> {
  return new SendError(`Cannot ${doing}: the channel is closed`, value);
}
