/**
 * Calls as tracers see them: the `TracingChannel` `tracing:millrace:call`, with one object for each call that lives as long as the call.
 *
 * Invariants:
 * - A call that was started ends once: `start` and `end` are published where it is made, `asyncStart` and `asyncEnd` when it is answered, `error` before
 *   them where it was not answered with a value. All of it happens in the caller's async context.
 * - Without subscribers a call keeps nothing and runs nothing of this file but the question.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { tracingChannel } from 'node:diagnostics_channel';
import type { RunInContext } from '../../worker/internal.js';
import type { Priority } from '../priority.js';
import type { Outcome } from './counts.js';

/** A worker that a call was given to. Times in ms since the call. */
export interface TracedRun {
  readonly worker: string;
  readonly startedMs: number;
  /** When the worker answered or was lost, or the call was given up; undefined while it runs. */
  readonly endedMs: number | undefined;
  /** Why it did not answer: the worker was lost, or gave the call back. */
  readonly error: unknown;
}

/**
 * The message of `tracing:millrace:call:*`: one object for each call, the same in all of its messages. It never carries inputs or outputs; times are in
 * ms. A field that is known later is undefined until then: `worker` from its first run on, the outcome from `error` and `asyncStart` on.
 */
export interface TracedCall {
  /** Its number among the calls of this process. */
  readonly id: number;
  readonly pool: string;
  readonly model: string;
  readonly operation: string;
  readonly kind: 'unary' | 'stream';
  readonly priority: Priority;
  /** Where the model runs. */
  readonly host: 'inline' | 'thread' | 'process' | 'remote';
  /** The W3C `traceparent` that the model and other hosts get: the caller's, or what a subscriber of `start` puts here. */
  traceparent: string | undefined;
  /** The workers that had it, in order. More than one after a crash. */
  readonly runs: readonly TracedRun[];
  /** The last of them. */
  readonly worker: string | undefined;
  /** From the call to the last worker, or to the answer of a call that got to none. */
  readonly queuedMs: number | undefined;
  /** From the last worker to the answer. */
  readonly servedMs: number | undefined;
  readonly attempts: number;
  /** Whether it shared the run of an identical call. */
  readonly coalesced: boolean;
  readonly outcome: Outcome | 'refused' | undefined;
  /** Why it was not answered with a value. */
  readonly error: unknown;
}

/** The fields that are known when a call is made. */
export type CallFacts = Pick<
  TracedCall,
  'pool' | 'model' | 'operation' | 'kind' | 'priority' | 'host' | 'traceparent'
> & { readonly calledAt: number };

const channel = tracingChannel<unknown, TracedCall>('millrace:call');
let made = 0;

/** Whether calls are traced: a channel has a subscriber. */
export function areCallsTraced(): boolean {
  const { start, end, asyncStart, asyncEnd, error } = channel;
  return (
    start.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    end.hasSubscribers ||
    asyncStart.hasSubscribers ||
    error.hasSubscribers
  );
}

/** A run as it is kept. */
type Run = { -readonly [K in keyof TracedRun]: TracedRun[K] };

/** Tells what becomes of one call, in its caller's async context. */
export class CallTracer {
  readonly message: { -readonly [K in keyof TracedCall]: TracedCall[K] } & { runs: Run[] };
  readonly #calledAt: number;
  #inContext: RunInContext | undefined;
  #isEnded = false;

  constructor({ calledAt, ...facts }: CallFacts) {
    made += 1;
    this.#calledAt = calledAt;
    this.message = {
      id: made,
      ...facts,
      runs: [],
      worker: undefined,
      queuedMs: undefined,
      servedMs: undefined,
      attempts: 0,
      coalesced: false,
      outcome: undefined,
      error: undefined,
    };
  }

  /** Makes the call, with the stores that subscribers bind. One that throws is refused. */
  start<T>(enter: () => T, now: () => number): T {
    let failure: { readonly error: unknown } | undefined;
    try {
      return channel.start.runStores(this.message, () => {
        const inContext = AsyncLocalStorage.snapshot();
        try {
          return enter();
        } catch (error) {
          failure = { error };
          throw error;
        } finally {
          channel.end.publish(this.message);
          this.#inContext = inContext;
        }
      });
    } finally {
      if (this.#isEnded) this.#publishEnd();
      else if (failure !== undefined) this.end('refused', failure.error, now());
    }
  }

  /** It shares the run of another call: of the worker that has that already, if one has. */
  join(worker: string | undefined): void {
    this.message.coalesced = true;
    if (worker !== undefined) this.run(worker, this.#calledAt);
  }

  /** A worker gets it. */
  run(worker: string, at: number): void {
    const startedMs = Math.max(0, at - this.#calledAt);
    this.message.runs.push({ worker, startedMs, endedMs: undefined, error: undefined });
    this.message.worker = worker;
    this.message.attempts += 1;
  }

  /** Its worker has it no more, and has not answered. */
  leaveRun(error: unknown, at: number): void {
    const last = this.#openRun;
    if (last === undefined) return;
    last.endedMs = at - this.#calledAt;
    last.error = error;
  }

  /** It is answered, or refused. */
  end(outcome: Outcome | 'refused', error: unknown, at: number): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const { message } = this;
    const ms = Math.max(0, at - this.#calledAt);
    const last = message.runs.at(-1);
    if (this.#openRun !== undefined) this.#openRun.endedMs = ms;
    message.queuedMs = last?.startedMs ?? ms;
    message.servedMs = last === undefined ? undefined : ms - last.startedMs;
    message.outcome = outcome;
    message.error = error;
    // One that is answered while it is made: `end` comes first.
    if (this.#inContext !== undefined) this.#publishEnd();
  }

  get #openRun(): Run | undefined {
    const last = this.message.runs.at(-1);
    return last?.endedMs === undefined ? last : undefined;
  }

  #publishEnd(): void {
    const { message } = this;
    this.#inContext?.(() => {
      if (message.outcome !== 'succeeded') channel.error.publish(message);
      channel.asyncStart.publish(message);
      channel.asyncEnd.publish(message);
    });
  }
}
