import { type AbortListener, type ClockTimer, type Linked, LinkedList } from '../../core/index.js';
import type { RunInContext } from '../../worker/index.js';
import { NO_PASS } from '../breaker.js';
import type { Priority, Queueable } from '../priority.js';
import type { OperationQueue } from './operation-queue.js';
import type { WorkerSlot } from './worker-slot.js';

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
 * One caller's wish for an answer.
 *
 * @internal
 */
export class Call implements Linked<Call> {
  readonly job: Job;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly signal: AbortSignal | undefined;
  /** In ms on the pool's clock; `Infinity` without one. */
  readonly deadline: number;
  readonly timeoutMs: number;
  readonly startedAt: number;
  readonly isDetailed: boolean;
  readonly traceparent: string | undefined;
  /** What the breaker let it through with. */
  pass: number = NO_PASS;
  isAccepted = false;
  isSettled = false;
  isCoalesced = false;
  timer: ClockTimer | undefined;
  onAbort: AbortListener | undefined;
  /** Runs a function in the caller's async context; set where a diagnostics channel has subscribers. */
  inContext: RunInContext | undefined;
  /** Its neighbours among the calls of its job. */
  previous: Call | undefined;
  next: Call | undefined;

  constructor(
    job: Job,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
    signal: AbortSignal | undefined,
    startedAt: number,
    timeoutMs: number,
    isDetailed: boolean,
    traceparent: string | undefined,
  ) {
    this.job = job;
    this.resolve = resolve;
    this.reject = reject;
    this.signal = signal;
    this.startedAt = startedAt;
    this.timeoutMs = timeoutMs;
    this.deadline = startedAt + timeoutMs;
    this.isDetailed = isDetailed;
    this.traceparent = traceparent;
  }
}

/** Where a job is: outside for want of room, in the queue, with a worker, or over. */
export type JobState = 'waiting' | 'queued' | 'running' | 'over';

/**
 * One run of an operation, for one caller, or for several whose requests are identical.
 *
 * @internal
 */
export class Job implements Queueable<Job> {
  readonly operation: OperationQueue;
  readonly input: unknown;
  readonly bytes: number;
  readonly cost: number;
  /** The calls that wait for its answer, in the order they came: most often one. */
  readonly calls: LinkedList<Call> = new LinkedList();
  /** Set when the run may be shared: what makes a request identical, and what gives the run up once nobody waits for it. */
  readonly key: unknown;
  readonly controller: AbortController | undefined;
  state: JobState = 'waiting';
  attempts = 0;
  slot: WorkerSlot | undefined;
  runningSince = 0;
  /** Runs a function in the first caller's async context; set when the job had to wait. */
  runInContext: RunInContext | undefined;
  priority: Priority;
  /** Its neighbours in the queue, outside of it, or among the jobs that run. */
  previous: Job | undefined;
  next: Job | undefined;
  isQueued = false;
  /** Whether a worker crashed that held it: it then runs alone. See `suspects.ts`. */
  isSuspect = false;
  lostAlone = 0;

  constructor(
    operation: OperationQueue,
    input: unknown,
    priority: Priority,
    bytes: number,
    cost: number,
    key: unknown,
  ) {
    this.operation = operation;
    this.input = input;
    this.priority = priority;
    this.bytes = bytes;
    this.cost = cost;
    this.key = key;
    this.controller = key === undefined ? undefined : new AbortController();
  }

  /** It will not run any more: an identical request gets a job of its own from now on. */
  close(): void {
    this.state = 'over';
    const { shared } = this.operation;
    if (this.key !== undefined && shared.get(this.key) === this) shared.delete(this.key);
  }
}
