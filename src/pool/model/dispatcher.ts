/**
 * One model's requests: admission, queue, late binding, answers.
 *
 * Invariants:
 * - A request is bound to a worker only when that worker has a free place; until then it waits here, so nothing waits behind a slow worker while
 *   another is free. Whenever anything is queued, no worker has room.
 * - A call is settled exactly once, and the ledger counts it then: `accepted = succeeded + failed + expired + cancelled + pending`.
 * - While a request waits, its deadline and signal are watched here; with a worker, the worker's handle watches them, save for shared runs, whose
 *   callers come and go one by one. A request whose deadline has passed is never given to a worker.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../../core/index.js';
import { DeadlineExceededError, UnknownOperationError } from '../../worker/index.js';
import { CircuitBreaker } from '../breaker.js';
import { BreakerOpenError, PoolClosedError, PoolOverloadedError } from '../errors.js';
import { poolChannel } from '../observe/events.js';
import type { Outcome } from '../observe/ledger.js';
import type { ModelSettings, PoolSettings } from '../options.js';
import { type Priority, PriorityQueue } from '../priority.js';
import { isDeadlineExceeded, isModelFault, isWorkerLost } from './faults.js';
import type { Fleet } from './fleet.js';
import { Call, type CallInfo, Job } from './job.js';
import { OperationQueue } from './operation-queue.js';
import { RateEstimate } from './rate.js';
import type { WorkerSlot } from './worker-slot.js';

/** A call's options, checked. */
export interface CallSettings {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  readonly priority: Priority;
  readonly traceparent: string | undefined;
  /** Refuses at once instead of waiting for room. */
  readonly isTry: boolean;
  readonly isDetailed: boolean;
}

/** A stream's place in a worker: the stream is read from it, then it is given back. */
export interface Lease {
  readonly job: Job;
  readonly slot: WorkerSlot;
  readonly call: Call;
}

const SETTLED = poolChannel('settle');
const REFUSED = poolChannel('refuse');
const RETRY_GUESS_MS = 100;

export class Dispatcher {
  readonly operations: ReadonlyMap<string, OperationQueue>;
  readonly breaker: CircuitBreaker | undefined;
  readonly rate: RateEstimate = new RateEstimate();
  breakerRejections = 0;
  readonly #settings: ModelSettings;
  readonly #pool: PoolSettings;
  readonly #clock: Clock;
  readonly #queue: PriorityQueue<Job>;
  readonly #running = new Set<Job>();
  #fleet: Fleet | undefined;
  // Accepted and not settled.
  #pending = 0;
  #outside = 0;
  #closing: string | undefined;
  #onQuiet: (() => void)[] = [];

  constructor(settings: ModelSettings, pool: PoolSettings, onBreaker: ConstructorParameters<typeof CircuitBreaker>[2]) {
    this.#settings = settings;
    this.#pool = pool;
    this.#clock = pool.clock;
    this.#queue = new PriorityQueue<Job>(settings.shares);
    this.breaker =
      settings.breaker === undefined ? undefined : new CircuitBreaker(settings.breaker, pool.clock, onBreaker);
    this.operations = new Map(
      Object.entries(settings.operations).map(([name, declaration]) => [
        name,
        new OperationQueue(name, declaration, settings.coalesce[name], settings.shares),
      ]),
    );
  }

  set fleet(fleet: Fleet) {
    this.#fleet = fleet;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Calls that wait outside for room in the queue. */
  get outside(): number {
    return this.#outside;
  }

  get running(): number {
    return this.#running.size;
  }

  get pending(): number {
    return this.#pending;
  }

  /** Takes a request. Never throws: every failure comes through the promise. A stream operation is answered with a {@link Lease}. */
  submit(name: string, input: unknown, options: CallSettings): Promise<unknown> {
    const operation = this.operations.get(name);
    if (operation === undefined) {
      const known = [...this.operations.keys()].join(', ');
      return Promise.reject(
        new UnknownOperationError(
          `Cannot call '${this.#settings.key}': operation must be one of ${known}, received '${name}'`,
          name,
        ),
      );
    }
    if (options.signal?.aborted) return this.#refuse(operation, options.signal.reason);
    if (this.#closing !== undefined) return this.#refuse(operation, this.#closedError(name));
    let key: unknown;
    try {
      key = operation.keyOf?.(input as never);
    } catch (error) {
      return this.#refuse(operation, error);
    }
    const twin = key === undefined ? undefined : operation.shared.get(key);
    if (twin !== undefined) return this.#join(twin, options);
    let job: Job;
    try {
      const cost = this.#settings.costOf?.(name, input) ?? 1;
      job = new Job(operation, input, options.priority, operation.sizeOf(input), cost, key);
    } catch (error) {
      return this.#refuse(operation, error);
    }
    const ticket = this.breaker?.admit();
    if (this.breaker !== undefined && ticket === undefined) {
      this.breakerRejections += 1;
      const retryAfterMs = this.breaker.retryAfterMs;
      return this.#refuse(
        operation,
        new BreakerOpenError(`${this.#subject(name)}: its circuit breaker is ${this.breaker.state}`, retryAfterMs),
      );
    }
    const worker = this.#queue.size === 0 ? this.#workers.pick() : undefined;
    const hasRoom = worker !== undefined || this.#hasRoom(operation, job.bytes);
    const refusal = this.#refusal(operation, options, worker !== undefined, hasRoom);
    if (refusal !== undefined) {
      ticket?.neutral();
      return this.#refuse(operation, refusal);
    }
    return new Promise((resolve, reject) => {
      const call = this.#newCall(job, resolve, reject, options);
      call.ticket = ticket;
      if (key !== undefined) operation.shared.set(key, job);
      if (worker !== undefined) {
        this.#accept(job);
        if (job.controller !== undefined) this.#arm(call);
        this.#run(job, worker);
        return;
      }
      this.#arm(call);
      job.runInContext = AsyncLocalStorage.snapshot();
      if (hasRoom) {
        this.#accept(job);
        this.#enqueue(job);
        this.#workers.saturated();
      } else {
        operation.outside.push(job);
        this.#outside += 1;
      }
    });
  }

  /** Gives requests to workers as long as there are both. */
  pump(): void {
    while (this.#queue.size > 0) {
      const slot = this.#workers.pick();
      if (slot === undefined) {
        this.#workers.saturated();
        return;
      }
      const job = this.#queue.take() as Job;
      this.#dequeued(job);
      if (this.#dropExpired(job)) this.#run(job, slot);
      this.#admitOutside(job.operation);
    }
    this.#workers.relieved();
  }

  /** Answers everything that waits with a failure; what workers have stays with them. */
  failQueued(error: unknown): void {
    const jobs = this.#queue.toArray();
    for (const operation of this.operations.values()) jobs.push(...operation.outside.toArray());
    for (const job of jobs) {
      this.#takeOut(job);
      for (const call of [...job.calls]) this.#settle(call, 'failed', error);
    }
    this.#workers.relieved();
  }

  /** Refuses new calls from now on, and those that wait for room; resolves once every accepted one is answered. */
  drain(why: string): Promise<void> {
    this.#closing ??= why;
    for (const operation of this.operations.values()) {
      for (const job of operation.outside.toArray()) {
        this.#takeOut(job);
        for (const call of [...job.calls]) this.#settle(call, 'failed', this.#closedError(operation.name));
      }
    }
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onQuiet.push(resolve));
  }

  /** Answers everything now. */
  failAll(why: string, cause: unknown): void {
    this.#closing = why;
    this.failQueued(this.#closedError(undefined, cause));
    for (const job of [...this.#running]) {
      for (const call of [...job.calls]) this.#settle(call, 'failed', this.#closedError(job.operation.name, cause));
    }
  }

  /** A stream's place is given back. */
  endLease(lease: Lease, outcome: 'succeeded' | 'failed' | 'cancelled', error: unknown): void {
    if (outcome === 'succeeded') this.#succeeded(lease.job, lease.slot, undefined);
    else if (outcome === 'failed') this.#failed(lease.job, lease.slot, error);
    else {
      this.#leftEarly(lease.job, lease.slot);
      this.#settle(lease.call, 'cancelled', undefined);
    }
  }

  get #workers(): Fleet {
    return this.#fleet as Fleet;
  }

  #subject(operation: string | undefined): string {
    return `Cannot call '${this.#settings.key}${operation === undefined ? '' : `.${operation}`}'`;
  }

  #closedError(operation: string | undefined, cause?: unknown): PoolClosedError {
    return new PoolClosedError(
      `${this.#subject(operation)}: ${this.#closing}`,
      cause === undefined ? undefined : { cause },
    );
  }

  #hasRoom(operation: OperationQueue, bytes: number): boolean {
    return operation.outside.size === 0 && this.#queue.size < this.#settings.queueLimit && operation.hasRoom(bytes);
  }

  #refuse(operation: OperationQueue, error: unknown): Promise<never> {
    operation.ledger.refused += 1;
    if (REFUSED.hasSubscribers) this.#publish(REFUSED, operation, { error });
    return Promise.reject(error);
  }

  // Why a request is turned away at the door, where it is.
  #refusal(
    operation: OperationQueue,
    options: CallSettings,
    isBound: boolean,
    hasRoom: boolean,
  ): PoolOverloadedError | undefined {
    const subject = this.#subject(operation.name);
    const backOffMs = this.#workers.backOffMs;
    if (options.isTry && !isBound && backOffMs > 0 && this.#workers.accepting + this.#workers.starting === 0) {
      const cause = this.#workers.lastFailure;
      return new PoolOverloadedError(`${subject}: no worker, the last one failed`, backOffMs, { cause });
    }
    if (options.isTry && !hasRoom)
      return new PoolOverloadedError(`${subject}: its queue is full`, this.#retryAfterMs());
    if (!this.#settings.refuseEarly) return undefined;
    const ahead = isBound ? 0 : this.#queue.size + this.#outside + 1;
    const waitMs = this.rate.waitMs(ahead, this.#workers.places);
    const timeoutMs = options.timeoutMs ?? this.#settings.timeoutMs;
    if (waitMs === undefined || waitMs + (this.rate.serviceMs as number) <= timeoutMs) return undefined;
    return new PoolOverloadedError(`${subject}: its deadline of ${timeoutMs} ms cannot be met`, this.#retryAfterMs());
  }

  #retryAfterMs(): number {
    const waitMs = this.rate.waitMs((this.#queue.size + 1) / 2, this.#workers.places);
    return Math.max(1, Math.ceil(waitMs ?? Math.max(RETRY_GUESS_MS, this.#workers.backOffMs)));
  }

  #newCall(job: Job, resolve: (value: unknown) => void, reject: (error: unknown) => void, options: CallSettings): Call {
    const timeoutMs = options.timeoutMs ?? this.#settings.timeoutMs;
    const call = new Call(
      job,
      resolve,
      reject,
      options.signal,
      this.#clock.now(),
      timeoutMs,
      options.isDetailed,
      options.traceparent,
    );
    job.calls.push(call);
    return call;
  }

  // An identical request is under way: its answer will be this one's too.
  #join(job: Job, options: CallSettings): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const call = this.#newCall(job, resolve, reject, options);
      call.isCoalesced = true;
      job.operation.ledger.coalesced += 1;
      if (job.state !== 'waiting') this.#acceptCall(call);
      this.#arm(call);
      if (job.isQueued && isMoreUrgent(options.priority, job.priority)) {
        const queue = job.state === 'queued' ? this.#queue : job.operation.outside;
        queue.remove(job);
        job.priority = options.priority;
        queue.push(job);
      }
    });
  }

  #accept(job: Job): void {
    for (const call of job.calls) this.#acceptCall(call);
  }

  #acceptCall(call: Call): void {
    call.isAccepted = true;
    call.job.operation.ledger.accepted += 1;
    this.#pending += 1;
  }

  #enqueue(job: Job): void {
    job.state = 'queued';
    job.operation.queued += 1;
    job.operation.queuedBytes += job.bytes;
    this.#queue.push(job);
  }

  #dequeued(job: Job): void {
    job.operation.queued -= 1;
    job.operation.queuedBytes -= job.bytes;
  }

  // Lets those in who wait outside, first of the operation that has just given up a place.
  #admitOutside(first: OperationQueue): void {
    if (this.#outside === 0) return;
    this.#admitFrom(first);
    if (this.#outside > 0 && this.#settings.queueLimit < Number.MAX_SAFE_INTEGER) {
      for (const operation of this.operations.values()) this.#admitFrom(operation);
    }
  }

  #admitFrom(operation: OperationQueue): void {
    while (operation.outside.size > 0 && this.#queue.size < this.#settings.queueLimit && operation.hasRoom(0)) {
      const job = operation.outside.take() as Job;
      this.#outside -= 1;
      this.#accept(job);
      this.#enqueue(job);
    }
  }

  // Takes a job out of whatever it waits in.
  #takeOut(job: Job): void {
    if (job.state === 'queued' && this.#queue.remove(job)) this.#dequeued(job);
    else if (job.state === 'waiting' && job.operation.outside.remove(job)) this.#outside -= 1;
    job.state = 'over';
    this.#unshare(job);
  }

  #unshare(job: Job): void {
    if (job.key !== undefined && job.operation.shared.get(job.key) === job) job.operation.shared.delete(job.key);
  }

  #arm(call: Call): void {
    if (call.deadline !== Number.POSITIVE_INFINITY && call.timer === undefined) {
      // It holds the process: somebody waits for the answer.
      call.timer = this.#clock.setTimer(() => this.#expire(call), call.deadline - this.#clock.now(), { ref: true });
    }
    if (call.signal !== undefined && call.onAbort === undefined) {
      call.onAbort = () => this.#giveUp(call, 'cancelled', call.signal?.reason);
      call.signal.addEventListener('abort', call.onAbort, { once: true });
    }
  }

  #disarm(call: Call): void {
    call.timer?.cancel();
    call.timer = undefined;
    if (call.onAbort !== undefined) {
      call.signal?.removeEventListener('abort', call.onAbort);
      call.onAbort = undefined;
    }
  }

  #expire(call: Call): void {
    const { operation } = call.job;
    const subject = this.#subject(operation.name);
    if (call.isAccepted) this.#giveUp(call, 'expired', deadlineError(subject, call));
    else {
      const error = new PoolOverloadedError(
        `${subject}: no room in its queue within ${call.timeoutMs} ms`,
        this.#retryAfterMs(),
      );
      this.#giveUp(call, 'expired', error);
    }
  }

  // One caller leaves; the run goes on if others wait for it.
  #giveUp(call: Call, outcome: 'expired' | 'cancelled', error: unknown): void {
    const { job } = call;
    this.#settle(call, outcome, error, job.state === 'running' && outcome === 'expired');
    if (job.calls.length > 0) return;
    if (job.state === 'running') {
      this.#unshare(job);
      job.controller?.abort(error);
      return;
    }
    const { operation } = job;
    this.#takeOut(job);
    this.#admitOutside(operation);
    if (this.#queue.size === 0) this.#workers.relieved();
  }

  // Settles the calls of a job that ran out of time before their timers could say so. False when none is left.
  #dropExpired(job: Job): boolean {
    const now = this.#clock.now();
    const needMs = this.#settings.refuseEarly ? (this.rate.serviceMs ?? 0) : 0;
    for (const call of [...job.calls]) {
      if (call.deadline <= now || call.deadline < now + needMs) {
        this.#settle(call, 'expired', deadlineError(this.#subject(job.operation.name), call));
      }
    }
    if (job.calls.length > 0) return true;
    job.state = 'over';
    this.#unshare(job);
    return false;
  }

  #run(job: Job, slot: WorkerSlot): void {
    const now = this.#clock.now();
    const { operation } = job;
    const first = job.calls[0] as Call;
    job.state = 'running';
    job.slot = slot;
    job.attempts += 1;
    job.runningSince = now;
    operation.running += 1;
    operation.waitSeconds.observe((now - first.startedAt) / 1000);
    this.#running.add(job);
    slot.begin(job.cost);
    if (operation.declaration.kind === 'stream') {
      this.#disarm(first);
      first.resolve({ job, slot, call: first } satisfies Lease);
      return;
    }
    let signal = job.controller?.signal;
    let timeoutMs: number | undefined;
    if (job.controller === undefined) {
      this.#disarm(first);
      signal = first.signal;
      if (first.deadline !== Number.POSITIVE_INFINITY) timeoutMs = first.deadline - now;
    }
    const call = () =>
      slot.handle.call(operation.name, job.input as never, {
        signal,
        timeoutMs,
        traceparent: first.traceparent,
      }) as Promise<unknown>;
    const reply = job.runInContext === undefined ? call() : job.runInContext(call);
    reply.then(
      (value) => this.#succeeded(job, slot, value),
      (error: unknown) => this.#failed(job, slot, error),
    );
  }

  #left(job: Job): void {
    this.#running.delete(job);
    job.operation.running -= 1;
    job.state = 'over';
    this.#unshare(job);
  }

  // The answer is decided, but the model may still be at it.
  #leftEarly(job: Job, slot: WorkerSlot): void {
    if (job.state !== 'running') return;
    this.#left(job);
    slot.endEarly(job.cost, () => this.#afterAnswer(slot));
    this.#afterAnswer(slot);
  }

  #afterAnswer(slot: WorkerSlot): void {
    if (this.#queue.size > 0) this.pump();
    this.#workers.answered(slot);
  }

  #succeeded(job: Job, slot: WorkerSlot, value: unknown): void {
    if (job.state !== 'running') return;
    const now = this.#clock.now();
    const serviceMs = now - job.runningSince;
    this.#left(job);
    this.rate.observe(serviceMs);
    job.operation.serviceSeconds.observe(serviceMs / 1000);
    slot.end(job.cost);
    for (const call of job.calls.length === 1 ? job.calls : [...job.calls]) {
      // An answer that comes late is no answer, whatever came of it.
      if (now > call.deadline)
        this.#settle(call, 'expired', deadlineError(this.#subject(job.operation.name), call), true);
      else this.#settle(call, 'succeeded', call.isDetailed ? { value, info: infoOf(call, slot, serviceMs) } : value);
    }
    this.#afterAnswer(slot);
  }

  #failed(job: Job, slot: WorkerSlot, error: unknown): void {
    if (job.state !== 'running') return;
    const isLost = isWorkerLost(error) && slot.state === 'accepting';
    if (isLost) this.#workers.lost(slot, error);
    const now = this.#clock.now();
    const wasLost = isLost || (isWorkerLost(error) && slot.state === 'gone');
    if (wasLost && this.#mayRetry(job, now)) {
      this.#left(job);
      this.#retry(job);
      return;
    }
    const isEarly = job.calls.every(
      (call) => call.signal?.aborted || (isDeadlineExceeded(error) && now >= call.deadline - 1),
    );
    if (isEarly) this.#leftEarly(job, slot);
    else {
      this.#left(job);
      slot.end(job.cost);
      this.rate.observe(now - job.runningSince);
    }
    for (const call of [...job.calls]) {
      if (call.signal?.aborted) this.#settle(call, 'cancelled', error);
      else if (isDeadlineExceeded(error) && now >= call.deadline - 1) this.#settle(call, 'expired', error, true);
      else this.#settle(call, 'failed', error, isModelFault(error));
    }
    if (!isEarly) this.#afterAnswer(slot);
  }

  #mayRetry(job: Job, now: number): boolean {
    const { declaration } = job.operation;
    return (
      declaration.idempotent &&
      declaration.kind === 'unary' &&
      job.attempts <= this.#settings.retries &&
      job.calls.some((call) => call.deadline > now && !call.signal?.aborted)
    );
  }

  #retry(job: Job): void {
    const { operation } = job;
    operation.ledger.retried += 1;
    for (const call of [...job.calls]) this.#arm(call);
    job.state = 'queued';
    operation.queued += 1;
    operation.queuedBytes += job.bytes;
    if (job.key !== undefined) operation.shared.set(job.key, job);
    this.#queue.pushFront(job);
    this.pump();
  }

  #settle(call: Call, outcome: Outcome, result: unknown, isFault = false): void {
    if (call.isSettled) return;
    call.isSettled = true;
    this.#disarm(call);
    const { job } = call;
    const { operation } = job;
    if (job.calls.length === 1) job.calls.length = 0;
    else job.calls.splice(job.calls.indexOf(call), 1);
    if (outcome === 'succeeded') call.ticket?.success();
    else if (isFault) call.ticket?.failure();
    else call.ticket?.neutral();
    if (call.isAccepted) {
      operation.ledger[outcome] += 1;
      this.#pending -= 1;
    } else operation.ledger.refused += 1;
    if (SETTLED.hasSubscribers) {
      const error = outcome === 'succeeded' ? undefined : result;
      this.#publish(SETTLED, operation, {
        outcome: call.isAccepted ? outcome : 'refused',
        worker: job.slot?.id,
        error,
      });
    }
    if (outcome === 'succeeded') call.resolve(result);
    else call.reject(result);
    if (this.#pending === 0 && this.#onQuiet.length > 0) {
      const waiting = this.#onQuiet;
      this.#onQuiet = [];
      for (const resolve of waiting) resolve();
    }
  }

  #publish(channel: typeof SETTLED, operation: OperationQueue, what: object): void {
    const { name } = this.#pool;
    channel.publish({
      pool: name,
      model: this.#settings.key,
      operation: operation.name,
      at: this.#clock.now(),
      ...what,
    });
  }
}

function deadlineError(subject: string, call: Call): DeadlineExceededError {
  return new DeadlineExceededError(`${subject}: no answer within ${call.timeoutMs} ms`, call.timeoutMs);
}

function isMoreUrgent(one: Priority, other: Priority): boolean {
  return (one === 'interactive' && other !== 'interactive') || (one === 'normal' && other === 'batch');
}

function infoOf(call: Call, slot: WorkerSlot, serviceMs: number): CallInfo {
  return {
    worker: slot.id,
    queuedMs: Math.max(0, call.job.runningSince - call.startedAt),
    serviceMs,
    attempts: call.job.attempts,
    coalesced: call.isCoalesced,
  };
}
