import { type WaitOptions, watch } from '../channels/index.js';
import { requireOneOf } from '../core/index.js';
import type { WorkerStateView } from './handle.js';
import { WorkerClosedError } from './worker-errors.js';
import {
  canTransition,
  requireTransition,
  type WorkerState,
  type WorkerStatus,
  workerTransitions,
} from './worker-state.js';

/** The one owner of a worker's state: every step goes through the table and out on a watch channel. */
export class StateMachine implements WorkerStateView {
  readonly #sender: watch.Sender<WorkerStatus>;
  readonly #now: () => number;
  readonly #onStep: (from: WorkerState, to: WorkerState, cause: unknown) => void;
  readonly #isOverheard: () => boolean;
  #current: WorkerState = 'spawning';
  #isSettling = false;
  /**
   * Takes the step that is owed, if one is. A busy worker would go to ready and back for every request; it may owe the step to ready until
   * somebody looks, or until its loop has nothing more to do.
   */
  settle: () => void = () => {};

  /** @param isOverheard Whether anybody but its subscribers is told of steps. */
  constructor(
    now: () => number,
    onStep: (from: WorkerState, to: WorkerState, cause: unknown) => void,
    isOverheard: () => boolean = () => false,
  ) {
    this.#now = now;
    this.#onStep = onStep;
    this.#isOverheard = isOverheard;
    const [sender, receiver] = watch.channel<WorkerStatus>({ state: 'spawning', enteredAt: now() });
    // Nobody's: what counts is who subscribes.
    receiver.close();
    this.#sender = sender;
  }

  get current(): WorkerState {
    this.settle();
    return this.#current;
  }

  borrow(): WorkerStatus {
    this.settle();
    return this.#sender.borrow();
  }

  subscribe(): watch.Receiver<WorkerStatus> {
    this.settle();
    return this.#sender.subscribe();
  }

  /** Takes the step that is owed once the callers of this turn have had theirs, if anybody is to be told of it. */
  settleForObservers(): void {
    if (this.#isSettling || !(this.#sender.receiverCount > 0 || this.#isOverheard())) return;
    this.#isSettling = true;
    process.nextTick(() => {
      this.#isSettling = false;
      this.settle();
    });
  }

  /** Takes a step of the table, and publishes it. */
  enter(to: WorkerState, cause?: unknown, at: number = this.#now()): void {
    const from = this.current;
    requireTransition(from, to);
    this.#current = to;
    this.#sender.sendReplace(cause === undefined ? { state: to, enteredAt: at } : { state: to, enteredAt: at, cause });
    this.#onStep(from, to, cause);
  }

  async waitFor(
    wanted: WorkerState | readonly WorkerState[] | ((status: WorkerStatus) => boolean),
    options?: WaitOptions,
  ): Promise<WorkerStatus> {
    requireStates(wanted);
    const passes =
      typeof wanted === 'function'
        ? wanted
        : (status: WorkerStatus): boolean =>
            typeof wanted === 'string' ? status.state === wanted : wanted.includes(status.state);
    const receiver = this.subscribe();
    try {
      const status = await receiver.waitFor((each) => passes(each) || isHopeless(each.state, wanted), options);
      if (passes(status)) return status;
      const what = typeof wanted === 'function' ? 'a certain state' : String(wanted);
      throw new WorkerClosedError(`Cannot wait for ${what}: the worker is ${status.state}`, { cause: status.cause });
    } finally {
      receiver.close();
    }
  }
}

const states = Object.keys(workerTransitions) as WorkerState[];

/** A state that there is not would be waited for until the worker's end. */
function requireStates(wanted: unknown): void {
  if (typeof wanted === 'function') return;
  for (const each of Array.isArray(wanted) ? wanted : [wanted])
    requireOneOf('Cannot wait for state', 'state', each, states);
}

/** Whether nothing that is waited for can be reached any more from a state. */
function isHopeless(
  state: WorkerState,
  wanted: WorkerState | readonly WorkerState[] | ((status: WorkerStatus) => boolean),
): boolean {
  if (state === 'dead') return true;
  if (typeof wanted === 'function' || !(state === 'evicting' || state === 'failed')) return false;
  const targets = typeof wanted === 'string' ? [wanted] : wanted;
  // From evicting and failed there is one step left.
  return !targets.some((target) => target === state || canTransition(state, target));
}
