import type { WaitOptions } from '../channels/index.js';
import type { WorkerStateView } from './handle.js';
import { WorkerClosedError } from './worker-errors.js';
import { canTransition, requireTransition, type WorkerState, type WorkerStatus } from './worker-state.js';

/** The one owner of a worker's state: every step goes through the table and out on a watch channel. */
export class StateMachine implements WorkerStateView {
  #status: WorkerStatus;
  readonly #watchers: Set<(status: WorkerStatus) => void> = new Set();
  readonly #now: () => number;
  readonly #onStep: (from: WorkerState, to: WorkerState, cause: unknown) => void;
  #current: WorkerState = 'spawning';

  constructor(now: () => number, onStep: (from: WorkerState, to: WorkerState, cause: unknown) => void) {
    this.#now = now;
    this.#onStep = onStep;
    this.#status = { state: 'spawning', enteredAt: now() };
  }

  get current(): WorkerState {
    return this.#current;
  }

  borrow(): WorkerStatus {
    return this.#status;
  }

  /** Takes a step of the table, and publishes it. */
  enter(to: WorkerState, cause?: unknown, at: number = this.#now()): void {
    const from = this.#current;
    requireTransition(from, to);
    this.#current = to;
    this.#status = cause === undefined ? { state: to, enteredAt: at } : { state: to, enteredAt: at, cause };
    for (const watcher of this.#watchers) watcher(this.#status);
    this.#onStep(from, to, cause);
  }

  async waitFor(
    wanted: WorkerState | readonly WorkerState[] | ((status: WorkerStatus) => boolean),
    options?: WaitOptions,
  ): Promise<WorkerStatus> {
    const passes =
      typeof wanted === 'function'
        ? wanted
        : (status: WorkerStatus): boolean =>
            typeof wanted === 'string' ? status.state === wanted : wanted.includes(status.state);
    const status = await this.#first((each) => passes(each) || isHopeless(each.state, wanted), options?.signal);
    if (passes(status)) return status;
    const what = typeof wanted === 'function' ? 'a certain state' : String(wanted);
    throw new WorkerClosedError(`Cannot wait for ${what}: the worker is ${status.state}`, { cause: status.cause });
  }

  #first(test: (status: WorkerStatus) => boolean, signal: AbortSignal | undefined): Promise<WorkerStatus> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (test(this.#status)) return resolve(this.#status);
      const stop = (): void => {
        this.#watchers.delete(look);
        signal?.removeEventListener('abort', onAbort);
      };
      const look = (status: WorkerStatus): void => {
        if (!test(status)) return;
        stop();
        resolve(status);
      };
      const onAbort = (): void => {
        stop();
        reject(signal?.reason);
      };
      this.#watchers.add(look);
      signal?.addEventListener('abort', onAbort);
    });
  }
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
