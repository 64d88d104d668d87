import {
  type AbortListener,
  addAbortListener,
  type Clock,
  type ClockTimer,
  type Linked,
  LinkedList,
  removeAbortListener,
} from '../../core/index.js';
import type { Outcome, Request, RequestListener, RequestOwner, RunInContext } from '../../worker/internal.js';
import type { BreakerTicket } from '../breaker.js';
import type { CallTracer } from '../observe/call-trace.js';
import type { Priority, Queueable } from '../priority.js';
import type { OperationQueue } from './job-queue.js';
import type { WorkerSlot } from './workers.js';

// Invariants:
// - A job has one request, which its queue and the worker that runs it pass on. A call that shares its run with no other is watched by that request
//   alone; calls that share a run come and go one by one, so each is watched here and the request has no deadline and no signal of its own.
// - A call is settled once. A job is over as soon as its request is answered, or its last call has left.

/** What a call can be told about its way through the pool. Times in ms. */
export interface CallInfo {
  /** The worker that answered. */
  readonly worker: string;
  /** From the call to the moment a worker got it. */
  readonly queuedMs: number;
  /** From then to the answer. */
  readonly serviceMs: number;
  /** How many workers it took; more than 1 after a crash. */
  readonly attempts: number;
  /** Whether it shared the run of an identical request. */
  readonly coalesced: boolean;
}

/**
 * How a call is answered.
 *
 * @internal
 */
export interface CallReply {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** What a call is beside the usual. */
interface CallTraits {
  readonly isDetailed?: boolean;
  readonly isCoalesced?: boolean;
  readonly tracer?: CallTracer | undefined;
}

/**
 * One caller who waits for the answer of a job.
 *
 * @internal
 */
export class Call implements Linked<Call>, AbortListener {
  readonly job: Job;
  readonly reply: CallReply;
  readonly startedAt: number;
  readonly timeoutMs: number;
  /** In ms on the pool's clock; `Infinity` without one. */
  readonly deadline: number;
  readonly isDetailed: boolean;
  readonly isCoalesced: boolean;
  /** What the breaker let it through with. */
  ticket: BreakerTicket | undefined;
  /** Whether the ledger counts it as accepted. */
  isAccepted = false;
  isSettled = false;
  /** Runs a function in the caller's async context; set where a diagnostics channel has subscribers. */
  inContext: RunInContext | undefined;
  /** Told what becomes of it, where calls are traced. */
  readonly tracer: CallTracer | undefined;
  /** Its neighbours among the calls of its job. */
  previous: Call | undefined;
  next: Call | undefined;
  #signal: AbortSignal | undefined;
  #timer: ClockTimer | undefined;

  constructor(
    job: Job,
    reply: CallReply,
    timeoutMs: number,
    startedAt: number,
    { isDetailed = false, isCoalesced = false, tracer }: CallTraits = {},
  ) {
    this.job = job;
    this.reply = reply;
    this.timeoutMs = timeoutMs;
    this.startedAt = startedAt;
    this.deadline = startedAt + timeoutMs;
    this.isDetailed = isDetailed;
    this.isCoalesced = isCoalesced;
    this.tracer = tracer;
    if (isCoalesced) tracer?.join(job.phase === 'running' ? job.worker : undefined);
    job.calls.push(this);
  }

  /** Watches the deadline and the signal of a call that shares its run. */
  watch(clock: Clock, signal: AbortSignal | undefined): void {
    if (this.deadline !== Number.POSITIVE_INFINITY) {
      // It holds the process: a caller waits for the answer.
      const expire = (): void => this.job.owner.leave(this, 'expired', undefined);
      this.#timer = clock.setTimer(expire, this.timeoutMs, { ref: true });
    }
    if (signal === undefined) return;
    this.#signal = signal;
    addAbortListener(signal, this);
  }

  unwatch(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#signal !== undefined) removeAbortListener(this.#signal, this);
    this.#signal = undefined;
  }

  onAbort(reason: unknown): void {
    this.job.owner.leave(this, 'cancelled', reason);
  }
}

/**
 * Where a job is: outside for want of room, in the queue, with a worker, or over.
 *
 * @internal
 */
export type JobPhase = 'waiting' | 'queued' | 'running' | 'over';

/**
 * The phases that each phase can be followed by. Only a job whose worker was lost is queued again.
 *
 * @internal
 */
export const jobTransitions: Readonly<Record<JobPhase, readonly JobPhase[]>> = {
  waiting: ['queued', 'running', 'over'],
  queued: ['running', 'over'],
  running: ['queued', 'over'],
  over: [],
};

/**
 * Is told what becomes of a job.
 *
 * @internal
 */
export interface JobOwner {
  /** Its request was answered: by the model, the deadline, an abort, a shutdown or the loss of its worker. */
  answered(job: Job, outcome: Outcome, result: unknown): void;
  /** Whether it may run again after the loss of its worker. */
  mayRetry(job: Job, error: unknown): boolean;
  /** Its worker is gone, and it is to run again. */
  retry(job: Job, error: unknown): void;
  /** Its worker lives and has given it back: not run, or to be run by another one too. */
  givenBack(job: Job, isUntouched: boolean): void;
  /** No queue and no model of its worker holds it any more. */
  released(job: Job): void;
  /** The error of a job that runs out of time while it waits. */
  expiryError(job: Job): Error;
  /** One of several callers waits for it no longer. */
  leave(call: Call, outcome: 'expired' | 'cancelled', error: unknown): void;
}

/**
 * One run of an operation, for one caller, or for several whose requests are identical.
 *
 * @internal
 */
export class Job implements Queueable<Job>, RequestListener, RequestOwner {
  readonly owner: JobOwner;
  readonly operation: OperationQueue;
  readonly bytes: number;
  /** The calls that wait for its answer, in the order they came: most often one. */
  readonly calls: LinkedList<Call> = new LinkedList();
  /** What makes another request identical, where the run may be shared. */
  readonly key: unknown;
  /** What the worker runs. Set right after the job is made, which it tells of its outcome. */
  request!: Request;
  priority: Priority;
  attempts = 0;
  slot: WorkerSlot | undefined;
  /** The worker that had it last. */
  worker = '';
  runningSince = 0;
  /** Its neighbours in the queue, outside of it, or among the jobs that run. */
  previous: Job | undefined;
  next: Job | undefined;
  isQueued = false;
  /** Whether a worker crashed that held it: it then runs alone. See `job-queue.ts`. */
  isSuspect = false;
  /** How many workers were lost that ran nothing but this. */
  lostAlone = 0;
  /** Whether its worker was lost and it does not run again. */
  isLost = false;
  /** Whether the model has answered it, and no deadline, abort or shutdown did so before. */
  isServed = false;
  #phase: JobPhase = 'waiting';

  constructor(owner: JobOwner, operation: OperationQueue, priority: Priority, bytes: number, key: unknown) {
    this.owner = owner;
    this.operation = operation;
    this.priority = priority;
    this.bytes = bytes;
    this.key = key;
    if (key !== undefined) operation.shared.set(key, this);
  }

  get phase(): JobPhase {
    return this.#phase;
  }

  get isShared(): boolean {
    return this.key !== undefined;
  }

  become(next: JobPhase): void {
    if (!jobTransitions[this.#phase].includes(next)) throw new Error(`A job cannot be ${next} after ${this.#phase}`);
    this.#phase = next;
    // An identical request gets a job of its own from now on.
    if (next === 'over') this.closeToOthers();
  }

  /** Lets no further call share its run. */
  closeToOthers(): void {
    const { shared } = this.operation;
    if (this.key !== undefined && shared.get(this.key) === this) shared.delete(this.key);
  }

  // Its request is its own while it waits; what it tells its listener is enough.
  onSettled(): void {}

  expiryError(): Error {
    return this.owner.expiryError(this);
  }

  onAnswered(_request: Request, outcome: Outcome, result: unknown): void {
    this.owner.answered(this, outcome, result);
  }

  isRetried(_request: Request, error: unknown): boolean {
    return this.owner.mayRetry(this, error);
  }

  onLost(_request: Request, error: unknown): void {
    this.owner.retry(this, error);
  }

  onGivenBack(_request: Request, isUntouched: boolean): void {
    this.owner.givenBack(this, isUntouched);
  }

  onReleased(): void {
    this.owner.released(this);
  }
}
