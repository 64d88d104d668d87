/**
 * The ends of calls: their deadlines and signals while they are watched here, their one answer, and the ledger.
 *
 * Invariant: a call is settled exactly once; if it was accepted the ledger counts it then, so `pending` is what the ledger says is pending.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Channel } from 'node:diagnostics_channel';
import { addAbortListener, type Clock, removeAbortListener } from '../../core/index.js';
import { type CircuitBreaker, NO_PASS } from '../breaker.js';
import { poolChannel } from '../observe/events.js';
import type { Outcome } from '../observe/ledger.js';
import { inNeutralContext } from '../../worker/index.js';
import type { Call } from './job.js';
import type { OperationQueue } from './operation-queue.js';

/** What happens to a call that runs out of time, or whose signal aborts, while it is watched. */
export interface CallWatcher {
  expired(call: Call): void;
  aborted(call: Call): void;
}

const SETTLED = poolChannel('settle');
const REFUSED = poolChannel('refuse');

export class Settlement {
  readonly #pool: string;
  readonly #model: string;
  readonly #clock: Clock;
  readonly #breaker: CircuitBreaker | undefined;
  readonly #watcher: CallWatcher;
  #pending = 0;
  #onQuiet: (() => void)[] = [];

  constructor(pool: string, model: string, clock: Clock, breaker: CircuitBreaker | undefined, watcher: CallWatcher) {
    this.#pool = pool;
    this.#model = model;
    this.#clock = clock;
    this.#breaker = breaker;
    this.#watcher = watcher;
  }

  /** Calls accepted and not settled. */
  get pending(): number {
    return this.#pending;
  }

  accept(call: Call): void {
    call.isAccepted = true;
    call.job.operation.ledger.accepted += 1;
    this.#pending += 1;
  }

  /** Turns a call away before there is anything of it to settle. */
  refuse(operation: OperationQueue, error: unknown): Promise<never> {
    operation.ledger.refused += 1;
    if (REFUSED.hasSubscribers) this.#publish(REFUSED, operation, { error });
    return Promise.reject(error);
  }

  /** Keeps the async context of a call, where a listener will be told in it how the call ended. */
  keepContext(call: Call): void {
    if (SETTLED.hasSubscribers) call.inContext = AsyncLocalStorage.snapshot();
  }

  /** Starts to watch a call's deadline and signal. */
  watch(call: Call): void {
    if (call.deadline !== Number.POSITIVE_INFINITY && call.timer === undefined) {
      // It holds the process: somebody waits for the answer.
      const ms = call.deadline - this.#clock.now();
      call.timer = this.#clock.setTimer(() => this.#watcher.expired(call), ms, { ref: true });
    }
    if (call.signal !== undefined && call.onAbort === undefined) {
      call.onAbort = { onAbort: () => this.#watcher.aborted(call) };
      addAbortListener(call.signal, call.onAbort);
    }
  }

  unwatch(call: Call): void {
    call.timer?.cancel();
    call.timer = undefined;
    if (call.onAbort === undefined) return;
    if (call.signal !== undefined) removeAbortListener(call.signal, call.onAbort);
    call.onAbort = undefined;
  }

  /** Answers a call, once. `isFault` says whether a failure counts against the model. */
  settle(call: Call, outcome: Outcome, result: unknown, isFault = false): void {
    if (call.isSettled) return;
    call.isSettled = true;
    this.unwatch(call);
    const { job } = call;
    const { operation } = job;
    job.calls.remove(call);
    if (call.pass !== NO_PASS) {
      this.#breaker?.settle(call.pass, outcome === 'succeeded' ? 'success' : isFault ? 'failure' : 'neutral');
    }
    if (call.isAccepted) {
      operation.ledger[outcome] += 1;
      this.#pending -= 1;
    } else operation.ledger.refused += 1;
    if (SETTLED.hasSubscribers) {
      const error = outcome === 'succeeded' ? undefined : result;
      const shown = call.isAccepted ? outcome : 'refused';
      const publish = (): void => this.#publish(SETTLED, operation, { outcome: shown, worker: job.slot?.id, error });
      (call.inContext ?? inNeutralContext)(publish);
    }
    if (outcome === 'succeeded') call.resolve(result);
    else call.reject(result);
    if (this.#pending === 0 && this.#onQuiet.length > 0) {
      const waiting = this.#onQuiet;
      this.#onQuiet = [];
      for (const resolve of waiting) resolve();
    }
  }

  /** Resolves once every accepted call is answered. */
  quiet(): Promise<void> {
    return this.#pending === 0 ? Promise.resolve() : new Promise((resolve) => this.#onQuiet.push(resolve));
  }

  #publish(channel: Channel, operation: OperationQueue, what: object): void {
    channel.publish({
      pool: this.#pool,
      model: this.#model,
      operation: operation.name,
      at: this.#clock.now(),
      ...what,
    });
  }
}
