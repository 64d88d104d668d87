import type { ModelAccount } from './model-account.js';
import type { PendingRequest } from './pending-request.js';
import type { StateMachine } from './state-machine.js';

// Invariants:
// - `inFlight` counts the requests that were taken and are not answered, and those whose call into the model has not returned.
// - The state is processing exactly while something is in flight, but for a step to ready that is owed.

/** What is in flight, and the steps between ready, processing and idle that follow from it. */
export class Activity {
  inFlight = 0;
  /** Whether the loop takes the step to ready itself, by `settle()`, when it has nothing more to do. */
  owesReady = false;
  /** Whether the worker is not to serve for now, so that it is not ready when nothing is in flight. */
  isSuspended = false;
  /** Told when it is owed. */
  onOwed: (() => void) | undefined;
  /** Whether the loop gives callers a few microtasks after the last call has left the model. */
  isLingering = false;
  /** Whether a call has just kept the thread for so long that others may have been given up meanwhile. */
  hasBlocked = false;
  /** Whether the request that comes now comes straight from a link, and nothing with it that may take it back: it may be started from there. */
  isAlone = false;
  readonly #state: StateMachine;
  readonly #model: ModelAccount;
  readonly #now: () => number;
  #isReadyOwed = false;
  #readyAt = 0;

  constructor(state: StateMachine, model: ModelAccount, now: () => number) {
    this.#state = state;
    this.#model = model;
    this.#now = now;
    state.settle = () => this.#settle();
  }

  /** A request was taken. */
  begin(request: PendingRequest, at: number | undefined): void {
    request.isInFlight = true;
    if (++this.inFlight !== 1) return;
    if (this.#isReadyOwed) this.#isReadyOwed = false;
    else this.sync(at);
  }

  /** A request that was taken is answered, and its call has left the model. */
  end(request: PendingRequest, at: number): void {
    request.isInFlight = false;
    if (--this.inFlight > 0) return;
    if (this.owesReady) {
      this.#isReadyOwed = true;
      this.#readyAt = at;
      this.onOwed?.();
    } else {
      this.sync(at);
    }
  }

  /** Brings ready, processing and idle in line with whether anything is in flight. */
  sync(at?: number): void {
    if (this.isSuspended) return;
    const { current } = this.#state;
    if (this.inFlight > 0) {
      if (current === 'idle') this.#state.enter('ready', undefined, at);
      if (current === 'idle' || current === 'ready') this.#state.enter('processing', undefined, at);
    } else if (current === 'processing') {
      this.#state.enter('ready', undefined, at);
    }
  }

  /**
   * The time, for a call. While the loop lingers after its last call has left the model, what that call was seen off with is still the time, but
   * for the microtasks in between: good enough for a latency, not for a deadline.
   */
  timeOfCall(hasDeadline: boolean): number {
    const isJustAfter = this.isLingering && this.inFlight === 0 && !hasDeadline;
    return isJustAfter ? this.#model.lastActiveAt : this.#now();
  }

  /**
   * The time, for a request that the loop takes: that of its call when it was made while the loop lingered, microtasks ago. A deadline is held
   * against the clock itself.
   */
  timeOfTaking({ calledAt, due }: PendingRequest): number {
    // Its call has come over the link a moment ago, and is started from there.
    if (this.isAlone) return calledAt;
    const isJustAfter =
      due === undefined && this.isLingering && this.inFlight === 0 && calledAt >= this.#model.lastActiveAt;
    return isJustAfter ? calledAt : this.#now();
  }

  /** Takes the step to ready that is owed, if it is. */
  #settle(): void {
    if (!this.#isReadyOwed) return;
    this.#isReadyOwed = false;
    this.sync(this.#readyAt);
  }
}
