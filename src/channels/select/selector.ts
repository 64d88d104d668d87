import { describeReceived, requireOptions } from '../../core/index.js';
import { signalOf, type WaitOptions } from '../abort.js';
import { rejected } from '../budget.js';
import type { ArmsOf, CheckedArms, SelectEvent, SelectOptions } from './arms.js';
import { type Plan, planOf } from './plan.js';
import { ENDED, FAILED, PENDING, type Poll, READY, type Selectable, type SelectSource } from './selectable.js';
import type { SelectWaiter, Slot } from './selectable.js';
import { type AnyEvent, HAS_FAILED, MUST_WAIT, NOTHING, Turn, type TurnSink } from './turn.js';
import { runTurn } from './wait.js';

const TURN_OPTIONS: readonly ('off' | 'signal')[] = ['off', 'signal'];

/** What {@link Selector.next} takes. */
export interface TurnOptions<Name extends string = string> extends WaitOptions {
  /**
   * The arms to leave out of this turn, by name: they are neither looked at nor waited on. When every other arm has ended the turn goes on
   * waiting, for its signal, as an arm that is off may win in a later turn.
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
  return new Selector<A>(planOf(action, arms, options, false));
}

/**
 * A select that is built once; see {@link createSelector}.
 *
 * It can itself be an arm of another select, and then wins with its event.
 */
export class Selector<A> implements Selectable<SelectEvent<A>> {
  readonly #plan: Plan;
  // The turn that is not in use: one in a loop, a new one for each wait that overlaps another.
  #spare: Turn | null = null;
  readonly #recycle = (turn: Turn): void => {
    this.#spare = turn;
  };

  /** @internal */
  constructor(plan: Plan) {
    this.#plan = plan;
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
    const plan = this.#plan;
    if (options === undefined) {
      const turn = this.#take(null);
      return runTurn(turn, plan.prepares, undefined, this.#recycle) as Promise<SelectEvent<A>>;
    }
    const signal = signalOf('Cannot select', options, TURN_OPTIONS);
    const off = options.off === undefined ? null : this.#offOf(options.off);
    if (signal?.aborted) return rejected(signal.reason);
    return runTurn(this.#take(off), plan.prepares, signal, this.#recycle) as Promise<SelectEvent<A>>;
  }

  /** How `select` looks at it. */
  selectSource(): SelectSource<SelectEvent<A>> {
    return new SelectorSource(this.#plan);
  }

  #take(off: Uint8Array | null): Turn {
    const turn = this.#spare ?? new Turn(this.#plan);
    this.#spare = null;
    turn.turnOff(off);
    return turn;
  }

  #offOf(names: readonly string[]): Uint8Array | null {
    if (!Array.isArray(names)) {
      throw new TypeError(`Cannot select: off must be an array of names, received ${describeReceived(names)}`);
    }
    if (names.length === 0) return null;
    const off = new Uint8Array(this.#plan.names.length);
    for (const name of names) {
      const index = this.#plan.names.indexOf(name);
      if (index >= 0) off[index] = 1;
      else if (!this.#plan.disabled.includes(name)) {
        throw new TypeError(`Cannot select: off must name arms, received ${describeReceived(name)}`);
      }
    }
    return off;
  }
}

/** A selector as an arm. */
class SelectorSource<E> implements SelectSource<E> {
  readonly #plan: Plan;
  readonly #looker: Turn;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#looker = new Turn(plan);
  }

  prepare(): boolean {
    return this.#plan.prepares && this.#looker.prepare();
  }

  poll(slot: Slot): Poll {
    const found = this.#looker.look();
    if (found === MUST_WAIT) return PENDING;
    if (found === HAS_FAILED) {
      slot.value = this.#looker.takeReason();
      return FAILED;
    }
    if (found === NOTHING) return ENDED;
    slot.value = found;
    return READY;
  }

  register(waiter: SelectWaiter): void {
    const turn = new Turn(this.#plan);
    waiter.link = turn;
    turn.wait(new ArmSink(waiter), undefined);
  }

  unregister(waiter: SelectWaiter): void {
    (waiter.link as Turn).withdraw();
    waiter.link = null;
  }

  isEnded(): boolean {
    return this.#plan.sources.every((source) => source.isEnded());
  }
}

class ArmSink implements TurnSink {
  readonly #waiter: SelectWaiter;

  constructor(waiter: SelectWaiter) {
    this.#waiter = waiter;
  }

  settled(event: AnyEvent): void {
    if (event === NOTHING) this.#waiter.end();
    else this.#waiter.deliver(event);
  }

  failed(reason: unknown): void {
    this.#waiter.fail(reason);
  }
}
