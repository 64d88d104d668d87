import { type WaitOptions, watch } from '../channels/index.js';
import {
  type AbortListener,
  addAbortListener,
  removeAbortListener,
  requireOneOf,
  requireWorkingSignal,
} from '../core/index.js';
import { WorkerClosedError, WorkerStateError } from './errors.js';

/**
 * Where a worker is in its life.
 *
 * - `spawning`: its host is being started;
 * - `loading`: the model is being made and warmed up;
 * - `ready`: it waits for requests;
 * - `processing`: at least one request is inside the model;
 * - `idle`: it has waited for requests longer than its idle timeout;
 * - `evicting`: it finishes what it accepted and releases the model;
 * - `failed`: it could not load, or its host ended by itself;
 * - `dead`: it is over.
 */
export type WorkerState = 'spawning' | 'loading' | 'ready' | 'processing' | 'idle' | 'evicting' | 'failed' | 'dead';

/** A worker's state, when it entered it, and why. */
export interface WorkerStatus {
  readonly state: WorkerState;
  /** When it was entered, in ms on the worker's clock. */
  readonly enteredAt: number;
  /** Why: the failure, for `failed` and `dead`. */
  readonly cause?: unknown;
}

/**
 * Every step a worker can take: from each state, the states that may follow. A step that is not in here can't happen.
 *
 * @example
 * ```ts
 * workerTransitions.ready; // => ['processing', 'idle', 'evicting', 'failed']
 * workerTransitions.dead; // => []
 * ```
 */
export const workerTransitions: { readonly [S in WorkerState]: readonly WorkerState[] } = Object.freeze({
  spawning: Object.freeze<WorkerState[]>(['loading', 'evicting', 'failed']),
  loading: Object.freeze<WorkerState[]>(['ready', 'evicting', 'failed']),
  ready: Object.freeze<WorkerState[]>(['processing', 'idle', 'evicting', 'failed']),
  processing: Object.freeze<WorkerState[]>(['ready', 'evicting', 'failed']),
  idle: Object.freeze<WorkerState[]>(['ready', 'evicting', 'failed']),
  evicting: Object.freeze<WorkerState[]>(['dead']),
  failed: Object.freeze<WorkerState[]>(['dead']),
  dead: Object.freeze<WorkerState[]>([]),
});

/** Tells whether a worker may go from one state to another. */
export function canTransition(from: WorkerState, to: WorkerState): boolean {
  return workerTransitions[from].includes(to);
}

/** Whether a worker in this state serves requests, now or once it is loaded. */
export function isLive(state: WorkerState): boolean {
  return state !== 'evicting' && state !== 'failed' && state !== 'dead';
}

/** Requires a step to be in the table. */
function requireTransition(from: WorkerState, to: WorkerState): void {
  if (!canTransition(from, to)) {
    throw new WorkerStateError(
      `Cannot change worker state: from ${from} it can go to ${workerTransitions[from].join(', ') || 'nowhere'}, received ${to}`,
    );
  }
}

/** A worker's state, to look at and to wait for. */
export interface WorkerStateView {
  /** The state now. */
  readonly current: WorkerState;
  /** The state now, when it was entered and why. */
  borrow(): WorkerStatus;
  /**
   * Waits until the worker is in a state, or in one of several.
   *
   * It looks at each step as it is taken, so that it sees also a state that is left at once, such as `processing` for a fast call.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param state A state, several, or a test of the status.
   * @param options `signal` gives up waiting.
   * @returns The status that was waited for.
   * @throws WorkerClosedError When the worker is over and can't reach it any more; `cause` says why, where known.
   * @throws RangeError When there is no state of that name.
   */
  waitFor(
    state: WorkerState | readonly WorkerState[] | ((status: WorkerStatus) => boolean),
    options?: WaitOptions,
  ): Promise<WorkerStatus>;
  /** A receiver of its own on the underlying watch channel, to be raced in a `select`. The current status counts as seen. */
  subscribe(): watch.Receiver<WorkerStatus>;
}

/** The one owner of a worker's state: every step goes through the table and out on a watch channel. */
export class StateMachine implements WorkerStateView {
  /** Made for the first subscriber. */
  #sender: watch.Sender<WorkerStatus> | undefined;
  readonly #now: () => number;
  readonly #onStep: (from: WorkerState, to: WorkerState, cause: unknown) => void;
  readonly #waiters = new Set<StateWaiter>();
  #status: WorkerStatus;

  constructor(now: () => number, onStep: (from: WorkerState, to: WorkerState, cause: unknown) => void) {
    this.#now = now;
    this.#onStep = onStep;
    this.#status = { state: 'spawning', enteredAt: now() };
  }

  get current(): WorkerState {
    return this.#status.state;
  }

  borrow(): WorkerStatus {
    return this.#status;
  }

  subscribe(): watch.Receiver<WorkerStatus> {
    if (this.#sender !== undefined) return this.#sender.subscribe();
    const [sender, receiver] = watch.channel(this.#status);
    this.#sender = sender;
    return receiver;
  }

  /** Takes a step of the table, and publishes it. */
  enter(to: WorkerState, cause?: unknown, enteredAt: number = this.#now()): void {
    const from = this.#status.state;
    requireTransition(from, to);
    const status = cause === undefined ? { state: to, enteredAt } : { state: to, enteredAt, cause };
    this.#status = status;
    this.#sender?.sendReplace(status);
    if (this.#waiters.size > 0) for (const waiter of this.#waiters) waiter.look(status);
    this.#onStep(from, to, cause);
  }

  waitFor(
    wanted: WorkerState | readonly WorkerState[] | ((status: WorkerStatus) => boolean),
    options?: WaitOptions,
  ): Promise<WorkerStatus> {
    return new Promise((resolve, reject) => {
      requireStates(wanted);
      const signal = options?.signal;
      if (signal !== undefined && requireWorkingSignal('Cannot wait for state', signal).aborted) throw signal.reason;
      const waiter = new StateWaiter(wanted, signal, resolve, reject, () => this.#waiters.delete(waiter));
      this.#waiters.add(waiter);
      waiter.look(this.borrow());
    });
  }
}

type Wanted = WorkerState | readonly WorkerState[] | ((status: WorkerStatus) => boolean);

/** One call of `waitFor`: looks at each step when it is taken. */
class StateWaiter implements AbortListener {
  readonly #wanted: Wanted;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (status: WorkerStatus) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onOver: () => void;

  constructor(
    wanted: Wanted,
    signal: AbortSignal | undefined,
    resolve: (status: WorkerStatus) => void,
    reject: (error: unknown) => void,
    onOver: () => void,
  ) {
    this.#wanted = wanted;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#onOver = onOver;
    if (signal !== undefined) addAbortListener(signal, this);
  }

  look(status: WorkerStatus): void {
    try {
      if (this.#passes(status)) this.#end(() => this.#resolve(status));
      else if (isHopeless(status.state, this.#wanted)) this.#end(() => this.#reject(this.#closed(status)));
    } catch (error) {
      // The test is the caller's code.
      this.#end(() => this.#reject(error));
    }
  }

  onAbort(reason: unknown): void {
    this.#end(() => this.#reject(reason));
  }

  #passes(status: WorkerStatus): boolean {
    const wanted = this.#wanted;
    if (typeof wanted === 'function') return wanted(status);
    return typeof wanted === 'string' ? status.state === wanted : wanted.includes(status.state);
  }

  #closed({ state, cause }: WorkerStatus): WorkerClosedError {
    const what = typeof this.#wanted === 'function' ? 'a certain state' : String(this.#wanted);
    return new WorkerClosedError(`Cannot wait for ${what}: the worker is ${state}`, { cause });
  }

  #end(settle: () => void): void {
    if (this.#signal !== undefined) removeAbortListener(this.#signal, this);
    this.#onOver();
    settle();
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
function isHopeless(state: WorkerState, wanted: Wanted): boolean {
  if (state === 'dead') return true;
  if (typeof wanted === 'function' || !(state === 'evicting' || state === 'failed')) return false;
  const targets = typeof wanted === 'string' ? [wanted] : wanted;
  // From evicting and failed there is one step left.
  return !targets.some((target) => target === state || canTransition(state, target));
}
