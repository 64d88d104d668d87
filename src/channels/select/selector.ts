import { describeReceived, faultOf, requireOptions } from '../../core/index.js';
import { rejected } from '../internal/budget.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { pin } from '../internal/pinned.js';
import { unlink, Waiter } from '../internal/waiters.js';
import type { Order } from './order.js';
import { type ArmsOf, type CheckedArms, type SelectEvent, type SelectOptions, type Plan, planOf } from './plan.js';
import {
  ENDED,
  FAILED,
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type Endings,
  type SelectWaiter,
  type Slot,
  HAS_ENDED,
  HAS_FAILED,
  MUST_WAIT,
} from './selectable.js';
import { type AnyEvent, NOTHING, Turn, PromiseTurn, type Turns } from './turn.js';

const TURN_OPTIONS: readonly ('off' | 'signal')[] = ['off', 'signal'];

/** What {@link Selector.next} takes. */
export interface TurnOptions<Name extends string = string> extends WaitOptions {
  /**
   * The arms to leave out of this turn, by name: they are neither looked at nor waited on. When every other arm has ended the turn goes on
   * waiting, for its signal or until what is off has ended too, as an arm that is off may win in a later turn.
   */
  readonly off?: readonly Name[] | undefined;
}

/**
 * Makes a select that is built once and waited on many times, for hot loops. Arms, options and semantics are those of `select`; which arms are
 * falsy is decided here, and arms are turned off for a turn with `next({ off })`.
 *
 * Among arms that stay ready, wins go round: each wins as often as the others.
 *
 * @param arms The arms by name. Later changes of the object change nothing.
 * @param options `biased`, `seed` or `random`.
 * @throws TypeError When every arm is falsy, a name looks like an integer, or something is not an arm.
 * @example
 * ```ts
 * const [tx, jobs] = mpsc.channel<number>(8);
 * const stop = new CancellationToken();
 * const selector = createSelector({ stop, job: jobs }, { biased: true });
 * await tx.send(1);
 * await selector.next(); // => { arm: 'job', value: 1 }
 * stop.cancel();
 * (await selector.next()).arm; // => 'stop'
 * ```
 */
export function createSelector<const A extends ArmsOf<A>>(
  arms: A & CheckedArms<A>,
  options?: SelectOptions,
): Selector<A> {
  const action = 'Cannot create selector';
  requireOptions(action, options, ['biased', 'seed', 'random']);
  return new Selector<A>(planOf(action, arms, options, rotating), Object.keys(arms));
}

function rotating(count: number): Order {
  return new RotatingOrder(count, Math.floor(Math.random() * count));
}

/** An event of an arm that has won. */
export type WonEvent<A> = Exclude<SelectEvent<A>, { readonly arm: null }>;

/**
 * A select that is built once; see {@link createSelector}.
 *
 * It can itself be an arm of another select, and then wins with its event. As an async iterable it gives its events until no arm can win any
 * more.
 */
export class Selector<A> implements Selectable<SelectEvent<A>>, AsyncIterable<WonEvent<A>> {
  readonly #plan: Plan;
  /** The names of all arms, of those that were falsy as well. */
  readonly #names: readonly string[];
  readonly #turns: SelectorTurns;
  /** Those with arms that are off, by their names. */
  #reduced: Map<string, SelectorTurns> | null = null;

  /** @internal */
  constructor(plan: Plan, names: readonly string[]) {
    this.#plan = plan;
    this.#names = names;
    this.#turns = new SelectorTurns(plan);
  }

  /**
   * Waits for the next event. Calls may overlap; each gets an event of its own.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options Arms to leave out, and a signal that abandons the wait.
   * @returns The event. `{ arm: null }` when no arm can ever win again; arms that are off for this turn count as arms that can.
   */
  next(options?: TurnOptions<keyof A & string>): Promise<SelectEvent<A>> {
    if (options === undefined) return this.#turns.take().run(undefined) as Promise<SelectEvent<A>>;
    const signal = signalOf('Cannot select', options, TURN_OPTIONS);
    const turns = options.off === undefined ? this.#turns : this.#without(options.off);
    if (signal?.aborted) return rejected(signal.reason);
    return turns.take().run(signal) as Promise<SelectEvent<A>>;
  }

  /**
   * The events, until no arm can win any more. A promise arm that rejects ends it with its reason.
   *
   * **Cancel safety:** cancel safe. Leaving it early consumes nothing and leaves nothing behind.
   *
   * @example
   * ```ts
   * const [tx, jobs] = mpsc.channel<number>(8);
   * for (const job of [1, 2, 3]) tx.trySend(job);
   * tx.close();
   * const done: number[] = [];
   * for await (const event of createSelector({ job: jobs })) done.push(event.value);
   * done; // => [1, 2, 3]
   * ```
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<WonEvent<A>, undefined, undefined> {
    return new SelectorIterator<AnyEvent>(this as never) as never;
  }

  /** How `select` looks at it. */
  selectSource(): SelectSource<SelectEvent<A>> {
    return new SelectorSource(this.#plan);
  }

  #without(names: readonly string[]): SelectorTurns {
    if (!Array.isArray(names)) {
      throw faultOf('Cannot select', 'off', 'an array of names', names);
    }
    if (names.length === 0) return this.#turns;
    for (const name of names) {
      if (this.#names.includes(name)) continue;
      throw new TypeError(`Cannot select: off must name arms, received ${describeReceived(name)}`);
    }
    this.#reduced ??= new Map();
    const key = names.length === 1 ? (names[0] as string) : `\0${JSON.stringify(names)}`;
    let turns = this.#reduced.get(key);
    if (turns === undefined) {
      turns = new SelectorTurns(withoutArms(this.#plan, names));
      if (this.#reduced.size >= MAX_REDUCED) this.#reduced.clear();
      this.#reduced.set(key, turns);
    }
    return turns;
  }
}

/** Turns over the same arms: one in a loop, a new one for each wait that overlaps another. */
class SelectorTurns implements Turns {
  readonly #plan: Plan;
  /** The one that is not in use. */
  spare: PromiseTurn | null = null;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  take(): PromiseTurn {
    const turn = this.spare ?? new PromiseTurn(this.#plan, this);
    this.spare = null;
    return turn;
  }
}

/** As many combinations of arms that are off are kept ready. */
const MAX_REDUCED = 64;

function withoutArms(plan: Plan, off: readonly string[]): Plan {
  const sources = plan.sources.map((source, index) =>
    off.includes(plan.names[index] as string) ? new OffSource(source) : source,
  );
  return { ...plan, sources };
}

/** An arm that is off: it is neither looked at nor waited on, but as long as it has not ended it may win in a later turn. */
class OffSource implements SelectSource<unknown> {
  readonly #inner: SelectSource<unknown>;

  constructor(inner: SelectSource<unknown>) {
    this.#inner = inner;
  }

  poll(): Poll {
    return this.#inner.isEnded() ? ENDED : PENDING;
  }

  register(waiter: SelectWaiter): void {
    waiter.link = this.#inner.endings?.().map((endings) => {
      const watcher = new EndWatcher(this, waiter);
      endings.push(watcher);
      return watcher;
    });
  }

  unregister(waiter: SelectWaiter): void {
    (waiter.link as EndWatcher[] | undefined)?.forEach(unlink);
    waiter.link = null;
  }

  isEnded(): boolean {
    return this.#inner.isEnded();
  }
}

/** Waits for an arm that is off to end. */
class EndWatcher extends Waiter<void> {
  readonly #source: OffSource;
  readonly #waiter: SelectWaiter;

  constructor(source: OffSource, waiter: SelectWaiter) {
    super();
    this.#source = source;
    this.#waiter = waiter;
  }

  // Where the end is told may have changed with what has happened.
  override deliver(): void {
    const source = this.#source;
    const waiter = this.#waiter;
    try {
      source.unregister(waiter);
      if (source.isEnded()) waiter.end();
      else source.register(waiter);
    } catch (error) {
      waiter.fail(error);
    }
  }

  override end(): void {
    this.deliver();
  }

  override fail(): void {}
}

/** A selector as an arm. */
class SelectorSource<E> implements SelectSource<E> {
  readonly #plan: Plan;
  readonly #looker: ArmTurn;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#looker = new ArmTurn(plan, null);
  }

  prepare(): boolean {
    return this.#plan.prepares && this.#looker.prepare();
  }

  poll(slot: Slot): Poll {
    const found = this.#looker.look();
    if (found === MUST_WAIT) return PENDING;
    if (found === HAS_ENDED) return ENDED;
    const value = this.#looker.takeValue();
    slot.value = found === HAS_FAILED ? value : { arm: this.#looker.nameOf(found), value };
    return found === HAS_FAILED ? FAILED : READY;
  }

  register(waiter: SelectWaiter): void {
    const turn = new ArmTurn(this.#plan, waiter);
    waiter.link = turn;
    turn.wait(undefined);
  }

  unregister(waiter: SelectWaiter): void {
    (waiter.link as ArmTurn).withdraw();
    waiter.link = null;
  }

  isEnded(): boolean {
    return this.#plan.sources.every((source) => source.isEnded());
  }

  endings(): Endings[] {
    return this.#plan.sources.flatMap((source) => source.endings?.() ?? []);
  }
}

/** A turn that is waited for by another one. */
class ArmTurn extends Turn {
  readonly #waiter: SelectWaiter | null;

  constructor(plan: Plan, waiter: SelectWaiter | null) {
    super(plan);
    this.#waiter = waiter;
  }

  protected override settled(event: AnyEvent): void {
    if (event === NOTHING) this.#waiter?.end();
    else this.#waiter?.deliver(event);
  }

  protected override settledLate(read: () => AnyEvent, undo: (() => void) | undefined): void {
    this.#waiter?.deliverLate(read, undo);
  }

  protected override failed(reason: unknown): void {
    this.#waiter?.fail(reason);
  }
}

/** The events of a selector, until no arm can win any more. Leaving it settles a `next()` that is pending, which has then consumed nothing. */
export class SelectorIterator<E extends AnyEvent> implements AsyncIterableIterator<E, undefined, undefined> {
  readonly #selector: { next(options: WaitOptions): Promise<E> };
  readonly #left = new AbortController();

  constructor(selector: { next(options: WaitOptions): Promise<E> }) {
    this.#selector = selector;
  }

  async next(): Promise<IteratorResult<E, undefined>> {
    const { signal } = this.#left;
    try {
      if (!signal.aborted) {
        const event = await this.#selector.next({ signal });
        if (event.arm !== null) return { done: false, value: event };
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    this.#left.abort();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#left.abort();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** From behind the last winner, all the way round. */
export class RotatingOrder implements Order {
  readonly #count: number;
  #start = 0;

  constructor(count: number, start: number) {
    this.#count = count;
    this.#start = start % count;
  }

  begin(): void {}

  at(position: number): number {
    const index = this.#start + position;
    return index < this.#count ? index : index - this.#count;
  }

  won(index: number): void {
    const next = index + 1;
    this.#start = next === this.#count ? 0 : next;
  }
}

pin(new RotatingOrder(1, 0));
