/**
 * A model of the pool: where its calls enter and are admitted or refused, and its end.
 *
 * A call refused here is the caller's fault, or finds no room: it reaches neither the model nor its breaker, and the ledger counts it as refused. An
 * admitted call is not checked again.
 */
import {
  type Clock,
  fillOptions,
  millisecondsOrInfinity,
  type OptionTable,
  oneOf,
  option,
  requireString,
  textOf,
  workingSignal,
} from '../../core/index.js';
import { UnknownOperationError } from '../../worker/index.js';
import {
  blameCaller,
  keepTrace,
  LazyStream,
  Request,
  type RequestFields,
  StreamingRequest,
} from '../../worker/internal.js';
import { brokenError, closedError, noRoomError, subjectOf } from '../errors.js';
import type { ModelSettings } from '../model-options.js';
import { areCallsTraced, CallTracer, type TracedCall } from '../observe/call-trace.js';
import type { EventHub, PoolEvent } from '../observe/events.js';
import type { PoolSettings } from '../pool-options.js';
import type { StartWorker, WorkerSource } from '../pooled-worker.js';
import { type Priority, priorities } from '../priority.js';
import type { SpareHosts } from '../spare-hosts.js';
import { Dispatcher } from './dispatcher.js';
import type { ModelFleet } from './fleet.js';
import { Call, type CallReply, Job } from './job.js';
import type { OperationQueue } from './job-queue.js';

/** Options of a call to a pool. */
export interface PoolCallOptions {
  /** Gives the call up: its promise rejects at once with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** How long the answer may take, from the call on, all waiting included, in ms. The model's `timeoutMs` by default; with 0 it expires at once, and starts nothing. */
  readonly timeoutMs?: number | undefined;
  /** How urgent it is. `'normal'` by default. */
  readonly priority?: Priority | undefined;
  /** The caller's W3C `traceparent`, handed to the model. */
  readonly traceparent?: string | undefined;
}

const CALL_OPTIONS = {
  signal: option(workingSignal),
  timeoutMs: option(millisecondsOrInfinity),
  priority: option(oneOf(priorities as readonly ['interactive', 'normal', 'batch']), 'normal'),
  traceparent: option(requireString),
} satisfies OptionTable<PoolCallOptions>;

/** A call's options, checked and filled, and how it was made. */
interface CallSettings {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly priority: Priority;
  readonly traceparent: string | undefined;
  /** Refuses at once instead of waiting for room. */
  readonly isTry: boolean;
  readonly isDetailed: boolean;
}

/** A deadline of less than this, in ms, is none that a clock could tell from now. */
const SHORTEST_MS = 0.001;
/** A stream tells its reader itself. */
const NO_REPLY: CallReply = { resolve: () => {}, reject: () => {} };

/** @internal */
export class RegisteredModel {
  readonly key: string;
  readonly settings: ModelSettings;
  readonly dispatcher: Dispatcher;
  breakerRejections = 0;
  readonly #clock: Clock;
  readonly #plain: CallSettings;
  readonly #pool: string;
  readonly #host: TracedCall['host'];
  /** Why new calls are refused, once they are. */
  #closing: string | undefined;

  constructor(
    settings: ModelSettings,
    pool: PoolSettings,
    workers: StartWorker | WorkerSource,
    events: EventHub,
    spares: SpareHosts | undefined,
  ) {
    this.key = settings.key;
    this.settings = settings;
    this.#clock = pool.clock;
    this.#pool = pool.name;
    this.#host = typeof workers === 'function' ? settings.host : 'remote';
    this.#plain = Object.freeze({
      ...fillOptions('', undefined, CALL_OPTIONS),
      timeoutMs: settings.timeoutMs,
      isTry: false,
      isDetailed: false,
    });
    this.dispatcher = new Dispatcher(settings, pool, workers, spares, (what) =>
      events.emit({ ...what, pool: pool.name, model: settings.key, at: pool.clock.now() } as PoolEvent),
    );
  }

  get operations(): ReadonlyMap<string, OperationQueue> {
    return this.dispatcher.operations;
  }

  get fleet(): ModelFleet {
    return this.dispatcher.fleet;
  }

  /** Starts the workers that are always kept. */
  begin(): void {
    if (this.settings.minWorkers > 0) this.fleet.check();
  }

  /** Takes a call: answers a promise, or a stream that is asked for when it is first read. Never throws. */
  call(name: string, input: unknown, options: PoolCallOptions | undefined, isTry: boolean): unknown {
    const isStream = this.operations.get(name)?.declaration.kind === 'stream';
    try {
      const settings = options === undefined && !isTry ? this.#plain : this.#check(name, options, isTry, false);
      const operation = this.#require(name);
      if (!isStream) return this.#submit(operation, input, settings);
      return new LazyStream(() => {
        const { request } = this.#enter(operation, input, settings, NO_REPLY);
        return (request as StreamingRequest).stream;
      });
    } catch (error) {
      blameCaller(error);
      if (!isStream) return Promise.reject(error);
      return new LazyStream(() => {
        throw error;
      });
    }
  }

  callDetailed(name: string, input: unknown, options: PoolCallOptions | undefined): Promise<unknown> {
    try {
      if (this.operations.get(name)?.declaration.kind === 'stream') {
        throw new TypeError(`${subjectOf(this.key, name)} in detail: it is a stream operation, use call()`);
      }
      const settings = this.#check(name, options, false, true);
      return this.#submit(this.#require(name), input, settings);
    } catch (error) {
      blameCaller(error);
      return Promise.reject(error);
    }
  }

  // --- admission

  #check(name: string, options: PoolCallOptions | undefined, isTry: boolean, isDetailed: boolean): CallSettings {
    const checked = fillOptions(`Cannot call ${this.key}.${textOf(name)}`, options, CALL_OPTIONS);
    return { ...checked, timeoutMs: checked.timeoutMs ?? this.settings.timeoutMs, isTry, isDetailed };
  }

  #require(name: string): OperationQueue {
    const operation = this.operations.get(name);
    if (operation !== undefined) return operation;
    const known = [...this.operations.keys()].join(', ');
    const received = textOf(name);
    const message = `${subjectOf(this.key)}: operation must be one of ${known}, received '${received}'`;
    throw new UnknownOperationError(message, received);
  }

  #submit(operation: OperationQueue, input: unknown, settings: CallSettings): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#enter(operation, input, settings, { resolve, reject });
    });
  }

  /** Admits a call, for tracers to see. */
  #enter(operation: OperationQueue, input: unknown, settings: CallSettings, reply: CallReply): Job {
    if (!areCallsTraced()) return this.#admit(operation, input, settings, reply);
    const { priority, traceparent } = settings;
    const { name, declaration } = operation;
    const [pool, model, host] = [this.#pool, this.settings.label, this.#host];
    const facts = { pool, model, operation: name, kind: declaration.kind, priority, host, traceparent };
    const now = (): number => this.#clock.now();
    const tracer = new CallTracer({ ...facts, calledAt: now() });
    const enter = (): Job =>
      this.#admit(operation, input, { ...settings, traceparent: tracer.message.traceparent }, reply, tracer);
    return tracer.start(enter, now);
  }

  /** Admits a call: to a worker that is free, into the queue, or to wait for room. Throws why it is refused, and what it answers one without any time. */
  #admit(
    operation: OperationQueue,
    input: unknown,
    settings: CallSettings,
    reply: CallReply,
    tracer?: CallTracer,
  ): Job {
    const { dispatcher } = this;
    const { name } = operation;
    const { signal, timeoutMs, priority, isTry, isDetailed } = settings;
    this.#requireOpen(operation, signal);
    const hasTime = timeoutMs >= SHORTEST_MS;
    let key: unknown;
    let twin: Job | undefined;
    let bytes = 0;
    try {
      key = operation.keyOf?.(input as never);
      if (key !== undefined && hasTime) twin = operation.shared.get(key);
      if (twin === undefined) bytes = operation.sizeOf(input);
    } catch (error) {
      blameCaller(error);
      throw dispatcher.refused(operation, error);
    }
    // Measuring runs code of the caller's, which may abort the call or close the pool.
    this.#requireOpen(operation, signal);
    if (twin !== undefined) return this.#join(twin, settings, reply, tracer);
    const now = this.#clock.now();
    if (!hasTime) {
      const job = new Job(dispatcher, operation, priority, bytes, undefined);
      throw dispatcher.expireAtOnce(new Call(job, reply, timeoutMs, now, { tracer }));
    }
    const { breaker } = dispatcher;
    const ticket = breaker?.admit();
    if (breaker !== undefined && ticket === undefined) {
      this.breakerRejections += 1;
      throw dispatcher.refused(operation, brokenError(this.key, name, breaker));
    }
    const worker = dispatcher.freeWorker(priority);
    // A free worker gets its request whatever the estimate says, which would else never be corrected.
    const refusal =
      worker === undefined ? this.#overload(name, isTry, timeoutMs, dispatcher.hasRoom(operation, bytes)) : undefined;
    if (refusal !== undefined) {
      ticket?.neutral();
      throw dispatcher.refused(operation, refusal, true);
    }
    const job = new Job(dispatcher, operation, priority, bytes, key);
    const call = new Call(job, reply, timeoutMs, now, { isDetailed, tracer });
    call.ticket = ticket;
    job.request = this.#requestOf(job, input, settings, now);
    if (job.isShared) call.watch(this.#clock, signal);
    dispatcher.take(job, worker);
    return job;
  }

  #requireOpen(operation: OperationQueue, signal: AbortSignal | undefined): void {
    if (signal?.aborted) throw this.dispatcher.refused(operation, signal.reason);
    if (this.#closing === undefined) return;
    throw this.dispatcher.refused(operation, closedError(this.key, operation.name, this.#closing));
  }

  /** An identical request is under way: its answer will be this one's too. */
  #join(twin: Job, settings: CallSettings, reply: CallReply, tracer?: CallTracer): Job {
    const { signal, timeoutMs, priority, isTry, isDetailed } = settings;
    const { operation } = twin;
    if (isTry && twin.phase !== 'running') {
      // What does not wait for room does not do so with another either.
      const refusal = this.#overload(operation.name, true, timeoutMs, twin.phase === 'queued');
      if (refusal !== undefined) throw this.dispatcher.refused(operation, refusal);
    }
    const call = new Call(twin, reply, timeoutMs, this.#clock.now(), { isDetailed, isCoalesced: true, tracer });
    call.watch(this.#clock, signal);
    this.dispatcher.join(call, priority);
    return twin;
  }

  /** Why there is no room for a call that no worker is free for, where there is none. */
  #overload(name: string, isTry: boolean, timeoutMs: number, hasRoom: boolean): Error | undefined {
    const { dispatcher, fleet, key } = this;
    if (isTry && fleet.absence !== undefined) return fleet.absence;
    if (isTry && fleet.backOffMs > 0 && fleet.workers.accepting + fleet.starting === 0) {
      return noRoomError(key, name, 'no worker, the last one failed', fleet.backOffMs, fleet.lastFailure);
    }
    if (isTry && !hasRoom) return noRoomError(key, name, 'its queue is full', dispatcher.retryAfterMs);
    if (!this.settings.refuseEarly || dispatcher.canMeet(timeoutMs)) return undefined;
    return noRoomError(key, name, `its deadline of ${timeoutMs} ms cannot be met`, dispatcher.retryAfterMs);
  }

  /** The record that queue and worker pass on. A shared run has no deadline and no signal: those of its calls are watched one by one. */
  #requestOf(job: Job, input: unknown, settings: CallSettings, calledAt: number): Request {
    const { operation, bytes, isShared } = job;
    const { signal, timeoutMs, traceparent } = settings;
    const fields: RequestFields = {
      operation: operation.name,
      declaration: operation.declaration,
      input,
      bytes,
      clock: this.#clock,
      calledAt,
      signal: isShared ? undefined : signal,
      timeoutMs: isShared ? undefined : timeoutMs,
      traceparent,
      trace: keepTrace(this.settings.host !== 'inline', traceparent),
    };
    return operation.declaration.kind === 'stream' ? new StreamingRequest(fields, job) : new Request(fields, job);
  }

  // --- the end

  /** Takes no more calls; resolves once every accepted one is answered. */
  drain(why: string): Promise<void> {
    this.#closing ??= why;
    return this.dispatcher.drain(this.#closing);
  }

  /** Drains for at most `timeoutMs`, answers what is left, and resolves once the workers are gone. */
  async close(timeoutMs: number, why: string): Promise<void> {
    const deadline = this.#clock.now() + timeoutMs;
    if (await this.#drainFor(timeoutMs, why)) await this.fleet.close(Math.max(0, deadline - this.#clock.now()));
    else await this.destroy(why, new Error(`not finished within ${timeoutMs} ms`));
  }

  async destroy(why: string, reason: unknown): Promise<void> {
    this.#closing = why;
    this.dispatcher.failAll(why, reason);
    await this.fleet.destroy(reason);
  }

  #drainFor(timeoutMs: number, why: string): Promise<boolean> {
    const drained = this.drain(why);
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(() => resolve(false), timeoutMs, { ref: true });
      void drained.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }
}
