/**
 * One turn of a select: look at the arms, and wait at all of them when none is ready.
 *
 * Invariants:
 * - A turn settles once. Before it settles by an arm, every other arm is withdrawn; an arm that lost has consumed nothing.
 * - A turn that is not waiting is registered nowhere, and can be used again.
 * - Looking takes at most one value: the look that finds one is the last.
 */
import { addAbortWaiter, removeAbortWaiter } from '../abort.js';
import { Waiter } from '../waiters.js';
import { biasedOrder } from './order.js';
import type { Plan } from './plan.js';
import { FAILED, PENDING, READY, type SelectSource, SelectWaiter, type Slot } from './selectable.js';
import { pin } from '../pinned.js';

/** What a select gives, whatever its arms. */
export interface AnyEvent {
  readonly arm: string | null;
  readonly value?: unknown;
}

/** No arm can ever win. */
export const NOTHING: AnyEvent = Object.freeze({ arm: null });

/** Where a turn that had to wait settles. It has ended by then. */
export interface TurnSink {
  settled(event: AnyEvent, turn: Turn): void;
  failed(reason: unknown, turn: Turn): void;
}

/** What a look found: an event, that it must wait, or that an arm has failed. */
export type Look = AnyEvent | typeof MUST_WAIT | typeof HAS_FAILED;
export const MUST_WAIT: unique symbol = Symbol('must wait');
export const HAS_FAILED: unique symbol = Symbol('has failed');

class ArmWaiter extends SelectWaiter {
  readonly #turn: Turn;
  readonly index: number;
  waiting = false;

  constructor(turn: Turn, index: number) {
    super();
    this.#turn = turn;
    this.index = index;
  }

  override deliver(value: unknown): void {
    this.waiting = false;
    this.#turn.win(this.index, value);
  }

  override end(): void {
    this.waiting = false;
    this.#turn.armEnded();
  }

  override fail(reason: unknown): void {
    this.waiting = false;
    this.#turn.fail(reason);
  }
}

class SignalWaiter extends Waiter<unknown> {
  readonly signal: AbortSignal;
  readonly #turn: Turn;

  constructor(turn: Turn, signal: AbortSignal) {
    super();
    this.#turn = turn;
    this.signal = signal;
  }

  override deliver(reason: unknown): void {
    this.#turn.fail(reason);
  }

  override end(): void {}

  override fail(): void {}
}

export class Turn {
  readonly #plan: Plan;
  readonly #slot: Slot = { value: undefined };
  #waiters: ArmWaiter[] | null = null;
  #off: Uint8Array | null = null;
  #live = 0;
  #sink: TurnSink | null = null;
  #signal: SignalWaiter | null = null;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** Leaves arms out of what comes next, until it is called again. */
  turnOff(off: Uint8Array | null): void {
    this.#off = off;
  }

  /** Has the sources prepared that ask for it. @returns True when a microtask must pass before the look. */
  prepare(): boolean {
    const { sources } = this.#plan;
    let asked = false;
    for (let index = 0; index < sources.length; index++) {
      if (this.#isOff(index)) continue;
      const source = sources[index] as SelectSource<unknown>;
      if (source.prepare?.()) asked = true;
    }
    return asked;
  }

  /** Looks at every arm until one has something. The reason of a failure is in {@link Turn.reason}. */
  look(): Look {
    const { sources, names, order } = this.#plan;
    const slot = this.#slot;
    const count = sources.length;
    let pending = false;
    order.begin();
    for (let position = 0; position < count; position++) {
      const index = order.at(position);
      if (this.#isOff(index)) continue;
      const found = (sources[index] as SelectSource<unknown>).poll(slot);
      if (found === READY) {
        order.won(index);
        return { arm: names[index] as string, value: this.#takeSlot() };
      }
      if (found === PENDING) pending = true;
      else if (found === FAILED) {
        order.won(index);
        return HAS_FAILED;
      }
    }
    return pending || this.#offMayWin() ? MUST_WAIT : NOTHING;
  }

  /** The reason of the failure that the look found. */
  takeReason(): unknown {
    return this.#takeSlot();
  }

  /** Waits at every arm, after a look that found nothing. */
  wait(sink: TurnSink, signal: AbortSignal | undefined): void {
    const { sources } = this.#plan;
    const waiters = this.#armWaiters();
    this.#sink = sink;
    this.#live = 0;
    for (let index = 0; index < sources.length; index++) {
      const source = sources[index] as SelectSource<unknown>;
      if (this.#isOff(index) || source.isEnded()) continue;
      const waiter = waiters[index] as ArmWaiter;
      waiter.waiting = true;
      this.#live++;
      source.register(waiter);
    }
    if (signal !== undefined) {
      this.#signal = new SignalWaiter(this, signal);
      addAbortWaiter(signal, this.#signal);
    }
  }

  /** Takes the turn out of everywhere it waits. */
  withdraw(): void {
    this.#sink = null;
    const waiters = this.#waiters;
    if (waiters !== null) {
      const { sources } = this.#plan;
      for (let index = 0; index < waiters.length; index++) {
        const waiter = waiters[index] as ArmWaiter;
        if (!waiter.waiting) continue;
        waiter.waiting = false;
        (sources[index] as SelectSource<unknown>).unregister(waiter);
      }
    }
    const signal = this.#signal;
    if (signal !== null) {
      this.#signal = null;
      removeAbortWaiter(signal.signal, signal);
    }
  }

  /** An arm has won. */
  win(index: number, value: unknown): void {
    const { names, order } = this.#plan;
    const sink = this.#sink as TurnSink;
    this.withdraw();
    order.won(index);
    sink.settled({ arm: names[index] as string, value }, this);
  }

  /** An arm can win no more. */
  armEnded(): void {
    if (--this.#live > 0 || this.#offMayWin()) return;
    const sink = this.#sink as TurnSink;
    this.withdraw();
    sink.settled(NOTHING, this);
  }

  /** An arm has failed, or the turn was aborted. */
  fail(reason: unknown): void {
    const sink = this.#sink as TurnSink;
    this.withdraw();
    sink.failed(reason, this);
  }

  #isOff(index: number): boolean {
    return this.#off !== null && this.#off[index] === 1;
  }

  // An arm that is only off for this turn keeps it from being the last.
  #offMayWin(): boolean {
    if (this.#off === null) return false;
    const { sources } = this.#plan;
    for (let index = 0; index < sources.length; index++) {
      if (this.#off[index] === 1 && !(sources[index] as SelectSource<unknown>).isEnded()) return true;
    }
    return false;
  }

  #armWaiters(): ArmWaiter[] {
    if (this.#waiters === null) {
      this.#waiters = [];
      for (let index = 0; index < this.#plan.sources.length; index++) this.#waiters.push(new ArmWaiter(this, index));
    }
    return this.#waiters;
  }

  #takeSlot(): unknown {
    const { value } = this.#slot;
    this.#slot.value = undefined;
    return value;
  }
}

const idle: Plan = { names: [], sources: [], disabled: [], prepares: false, order: biasedOrder };
const turn: Turn = new Turn(idle);
pin(idle, turn, new ArmWaiter(turn, 0));
