/**
 * One turn of a select: look at the arms, and wait at all of them when none is ready.
 *
 * Invariants:
 * - A turn settles once. Before it settles by an arm, every other arm is withdrawn; an arm that lost has consumed nothing.
 * - A turn that is not waiting is registered nowhere, and can be used again.
 * - Looking takes at most one value: the look that finds one is the last.
 * - A source may be foreign code. What it throws reaches the caller of the select, never the one who told it of a value, and leaves no arm
 *   registered. Only what it throws while it is withdrawn because another arm has won is dropped: the value that was won comes first.
 */
import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { afterPause, DONE, ready, refused, rejected, settle, spend } from '../internal/budget.js';
import { pin } from '../internal/pinned.js';
import type { Plan } from './plan.js';
import {
  FAILED,
  HAS_ENDED,
  HAS_FAILED,
  MUST_WAIT,
  PENDING,
  READY,
  type SelectSource,
  SelectWaiter,
  type Slot,
} from './selectable.js';

/** What a select gives, whatever its arms. */
export interface AnyEvent {
  readonly arm: string | null;
  readonly value?: unknown;
}

/** No arm can ever win. */
export const NOTHING: AnyEvent = Object.freeze({ arm: null });

export class ArmWaiter extends SelectWaiter {
  readonly #turn: Turn;
  readonly #index: number;
  waiting = false;

  constructor(turn: Turn, index: number) {
    super();
    this.#turn = turn;
    this.#index = index;
  }

  override deliver(value: unknown): void {
    if (this.#leave()) this.#turn.win(this.#index, value);
  }

  override deliverLate(read: () => unknown, undo?: () => void): void {
    if (this.#leave()) this.#turn.win(this.#index, undefined, read, undo);
  }

  override end(): void {
    if (this.#leave()) this.#turn.armEnded();
  }

  override fail(reason: unknown): void {
    if (this.#leave()) this.#turn.onAbort(reason);
  }

  #leave(): boolean {
    const was = this.waiting;
    this.waiting = false;
    return was;
  }
}

export abstract class Turn implements Slot {
  readonly #plan: Plan;
  /** What a look has left: the value of the arm that won, or the reason of one that failed. */
  value: unknown = undefined;
  #waiters: ArmWaiter[] | null = null;
  #signal: AbortSignal | null = null;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** It had to wait, and has ended by then. */
  protected abstract settled(event: AnyEvent): void;
  /** The same with an event that is read a microtask later, unless it can be undone and the signal has fired by then. */
  protected abstract settledLate(
    read: () => AnyEvent,
    undo: (() => void) | undefined,
    signal: AbortSignal | null,
  ): void;
  protected abstract failed(reason: unknown): void;

  /** Has the sources prepared that ask for it. @returns True when a microtask must pass before the look. */
  prepare(): boolean {
    let asked = false;
    for (const source of this.#plan.sources) if (source.prepare?.()) asked = true;
    return asked;
  }

  /** The name of an arm. */
  nameOf(index: number): string {
    return this.#plan.names[index] as string;
  }

  /** Looks at every arm until one has something. @returns The index of the arm that has won, or what else there is to say. */
  look(): number {
    const { sources, order } = this.#plan;
    const count = sources.length;
    let pending = false;
    order?.begin();
    for (let position = 0; position < count; position++) {
      const index = order === null ? position : order.at(position);
      const found = (sources[index] as SelectSource<unknown>).poll(this);
      if (found === PENDING) {
        pending = true;
      } else if (found === READY || found === FAILED) {
        order?.won(index);
        return found === READY ? index : HAS_FAILED;
      }
    }
    return pending ? MUST_WAIT : HAS_ENDED;
  }

  takeValue(): unknown {
    const { value } = this;
    this.value = undefined;
    return value;
  }

  /** Waits at every arm, after a look that found nothing. */
  wait(signal: AbortSignal | undefined): void {
    const { sources } = this.#plan;
    this.#waiters ??= sources.map((_, index) => new ArmWaiter(this, index));
    const waiters = this.#waiters;
    try {
      for (let index = 0; index < sources.length; index++) {
        const source = sources[index] as SelectSource<unknown>;
        if (source.isEnded()) continue;
        const waiter = waiters[index] as ArmWaiter;
        waiter.waiting = true;
        source.register(waiter);
        // Foreign code, such as a clock that calls back at once, may have settled the turn in the middle of that.
        if (!waiter.waiting) {
          waiter.waiting = true;
          this.withdraw();
          return;
        }
      }
      if (signal === undefined) return;
      addAbortListener(signal, this);
      this.#signal = signal;
    } catch (error) {
      this.withdraw();
      throw error;
    }
  }

  /** Takes the turn out of everywhere it waits. @returns What an arm threw, if one did. */
  withdraw(): readonly [unknown] | undefined {
    const { sources } = this.#plan;
    const waiters = this.#waiters as ArmWaiter[];
    let thrown: [unknown] | undefined;
    for (let index = 0; index < waiters.length; index++) {
      const waiter = waiters[index] as ArmWaiter;
      if (!waiter.waiting) continue;
      waiter.waiting = false;
      try {
        (sources[index] as SelectSource<unknown>).unregister(waiter);
      } catch (error) {
        thrown ??= [error];
      }
    }
    if (this.#signal !== null) removeAbortListener(this.#signal, this);
    this.#signal = null;
    return thrown;
  }

  /** An arm has won: with a value, or with one that is read a microtask later. */
  win(index: number, value: unknown, read?: () => unknown, undo?: () => void): void {
    const signal = this.#signal;
    this.withdraw();
    this.#plan.order?.won(index);
    const arm = this.nameOf(index);
    if (read === undefined) this.settled({ arm, value });
    else this.settledLate(() => ({ arm, value: read() }), undo, signal);
  }

  /** An arm can win no more. */
  armEnded(): void {
    const { sources } = this.#plan;
    try {
      if (this.#waiters?.some(({ waiting }, index) => waiting && !sources[index]?.isEnded())) return;
    } catch (error) {
      this.onAbort(error);
      return;
    }
    const thrown = this.withdraw();
    if (thrown === undefined) this.settled(NOTHING);
    else this.failed(thrown[0]);
  }

  /** An arm has failed, or the turn was aborted. */
  onAbort(reason: unknown): void {
    const [why] = this.withdraw() ?? [reason];
    this.failed(why);
  }
}

/**
 * A turn as a promise.
 */

/** Where a turn goes that has ended, to be used again. */
export interface Turns {
  spare: PromiseTurn | null;
}

export class PromiseTurn extends Turn {
  readonly #prepares: boolean;
  readonly #turns: Turns | null;
  #resolve: ((event: AnyEvent | Promise<never>) => void) | null = null;

  constructor(plan: Plan, turns: Turns | null) {
    super(plan);
    this.#prepares = plan.prepares;
    this.#turns = turns;
  }

  /** Looks, and waits if it must. What an arm throws rejects the wait. */
  run(signal: AbortSignal | undefined): Promise<AnyEvent> {
    try {
      return this.#prepares && this.prepare() ? this.#runPrepared(signal) : this.#lookOrWait(signal);
    } catch (error) {
      this.#recycle();
      return rejected(error);
    }
  }

  // Promises that are settled already say so some microtasks after they were asked.
  async #runPrepared(signal: AbortSignal | undefined): Promise<AnyEvent> {
    do await undefined;
    while (this.prepare());
    if (!signal?.aborted) return this.#lookOrWait(signal);
    this.#recycle();
    throw signal.reason;
  }

  #lookOrWait(signal: AbortSignal | undefined): Promise<AnyEvent> {
    const found = this.look();
    if (found === MUST_WAIT) {
      spend();
      const promise = new Promise<AnyEvent>((resolve) => {
        this.#resolve = resolve;
      });
      this.wait(signal);
      return promise;
    }
    const value = this.takeValue();
    this.#recycle();
    if (found === HAS_ENDED) return ready(NOTHING);
    if (found === HAS_FAILED) return rejected(value);
    // The event is made where the promise is: the compiler then knows that it is no thenable, and need not ask.
    return spend()
      ? afterPause({ arm: this.nameOf(found), value })
      : Promise.resolve({ arm: this.nameOf(found), value });
  }

  protected override settled(event: AnyEvent | Promise<never>): void {
    settle(this.#resolve as (event: AnyEvent | Promise<never>) => void, event);
    this.#recycle();
  }

  protected override settledLate(
    read: () => AnyEvent,
    undo: (() => void) | undefined,
    signal: AbortSignal | null,
  ): void {
    void DONE.then(() => {
      let event: AnyEvent | Promise<never>;
      try {
        if (undo !== undefined && signal?.aborted) {
          undo();
          throw signal.reason;
        }
        event = read();
      } catch (error) {
        event = refused(error);
      }
      this.settled(event);
    });
  }

  // To resolve with what is rejected is to reject, and needs no function of its own.
  protected override failed(reason: unknown): void {
    this.settled(refused(reason));
  }

  // Its function would hold the last promise, and its value.
  #recycle(): void {
    this.#resolve = null;
    if (this.#turns !== null) this.#turns.spare = this;
  }
}

const turn: PromiseTurn = new PromiseTurn({ names: [], sources: [], prepares: false, order: null }, null);
pin(turn, new ArmWaiter(turn, 0));
