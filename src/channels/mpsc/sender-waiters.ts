/**
 * Those who wait for slots: a blocked send, a reservation, the arm of `reserving`.
 *
 * Invariant: what a waiter gathered goes with it, into its value or permit when it is granted, back to the channel when it is withdrawn.
 */
import type { Clock, ClockTimer } from '../../core/index.js';
import { SendError } from '../closed-errors.js';
import { rejected, settle, spend } from '../budget.js';
import { type AbortLink, addAbortLink, PromiseWaiter } from '../promise-waiter.js';
import type { SelectWaiter } from '../select/selectable.js';
import { TimeoutError } from '../time/timeout-error.js';
import { Waiter, type WaiterList, type WaitNode } from '../waiters.js';
import type { Chan, SlotWaiter } from './chan.js';

const ignore = (): void => {};

let capturing: SendWaiter<never> | null = null;
let captureSend: (resolve: (value: void | PromiseLike<void>) => void, reject: (reason: unknown) => void) => void;

abstract class SlotPromise<T, R> extends PromiseWaiter<never, R> implements SlotWaiter {
  readonly wanted: number;
  need: number;
  protected readonly chan: Chan<T>;

  constructor(chan: Chan<T>, slots: number) {
    super();
    this.chan = chan;
    this.wanted = slots;
    this.need = slots;
  }

  abstract granted(): void;

  override deliver(): void {}

  protected override withdraw(): boolean {
    return this.chan.withdrawSender(this);
  }

  /** Rejects because the channel closed. A caller that does not look loses its value, but not the process. */
  protected refuse(error: SendError): void {
    this.promise.then(undefined, ignore);
    this.reject(error);
  }
}

/**
 * A send that waits for room. It stands by itself, below no base class: one constructor instead of five for what a full channel makes for
 * each message.
 */
export class SendWaiter<T> implements SlotWaiter {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  need = 1;
  readonly chan: Chan<T>;
  readonly value: T;
  readonly promise: Promise<void>;
  #resolve: (value: undefined) => void = ignore;
  #reject: (reason: unknown) => void = ignore;
  #abort: AbortLink | null = null;

  constructor(chan: Chan<T>, value: T) {
    spend();
    this.chan = chan;
    this.value = value;
    capturing = this as unknown as SendWaiter<never>;
    this.promise = new Promise<void>(captureSend);
    capturing = null;
  }

  get wanted(): number {
    return 1;
  }

  static {
    captureSend = (resolve, reject) => {
      const waiter = capturing as SendWaiter<never>;
      waiter.#resolve = resolve;
      waiter.#reject = reject;
    };
  }

  /** Has the send abandoned when the signal fires, which must not have happened yet. */
  listen(signal: AbortSignal): void {
    this.#abort = addAbortLink(signal, this);
  }

  granted(): void {
    this.chan.put(this.value);
    this.resolve();
  }

  deliver(): void {}

  end(): void {
    this.promise.then(undefined, ignore);
    this.reject(closedWhileSending(this.value));
  }

  fail(reason: unknown): void {
    this.reject(reason);
  }

  /** Abandons the send, if it still waits. */
  abandon(reason: unknown): void {
    if (this.chan.withdrawSender(this)) this.reject(reason);
  }

  protected resolve(): void {
    this.#deafen();
    settle(this.#resolve, undefined);
  }

  protected reject(reason: unknown): void {
    this.#deafen();
    settle(this.#reject, reason);
  }

  #deafen(): void {
    if (this.#abort === null) return;
    this.#abort.remove();
    this.#abort = null;
  }
}

/** A send that waits for room only so long. */
export class TimedSendWaiter<T> extends SendWaiter<T> {
  #timer: ClockTimer | undefined;

  start(clock: Clock, ms: number): void {
    // A timer holds the process here: somebody awaits the send.
    this.#timer = clock.setTimer(() => this.#expire(ms), ms, { ref: true });
  }

  protected override resolve(): void {
    this.#timer?.cancel();
    super.resolve();
  }

  protected override reject(reason: unknown): void {
    this.#timer?.cancel();
    super.reject(reason);
  }

  #expire(ms: number): void {
    this.abandon(noRoomWithin(ms, this.value));
  }
}

/** A reservation that waits for its slots, and then turns them into a permit. */
export class ReserveWaiter<T, R> extends SlotPromise<T, R> {
  readonly #toPermit: (chan: Chan<T>, slots: number) => R;

  constructor(chan: Chan<T>, slots: number, toPermit: (chan: Chan<T>, slots: number) => R) {
    super(chan, slots);
    this.#toPermit = toPermit;
  }

  override granted(): void {
    this.resolve(this.#toPermit(this.chan, this.wanted));
  }

  override end(): void {
    this.refuse(closedWhileReserving());
  }
}

/** The arm of a select that waits for one slot. */
export class ReserveLink<T> extends Waiter<never> implements SlotWaiter {
  readonly wanted = 1;
  need = 1;
  readonly #target: SelectWaiter;
  readonly #toPermit: () => T;

  constructor(target: SelectWaiter, toPermit: () => T) {
    super();
    this.#target = target;
    this.#toPermit = toPermit;
  }

  granted(): void {
    this.#target.deliver(this.#toPermit());
  }

  override deliver(): void {}

  override end(): void {
    this.#target.end();
  }

  override fail(): void {}
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

/** A rejection that is not an unhandled one when nobody looks. */
export function refused<T>(error: unknown): Promise<T> {
  const promise = rejected(error);
  promise.then(undefined, ignore);
  return promise;
}
