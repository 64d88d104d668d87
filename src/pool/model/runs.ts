/**
 * The runs of one model: requests that workers have, from when they are given one until its answer is in or nobody waits for it.
 *
 * Invariants:
 * - A job is here exactly while it is `running`; it leaves once, whatever comes first: the answer, the end of its worker, or the last caller's leave.
 * - With a worker, the worker's handle watches a call's deadline and signal. What may outlive that is watched here as well: shared runs, whose callers
 *   come and go one by one, and streams until the worker has them.
 * - A failure counts against the model where it failed in the model: what fails before the model has it is its caller's. One crash counts once.
 */
import { type Clock, LinkedList } from '../../core/index.js';
import { failedBeforeModel, type RequestOutcome, timeInModel } from '../../worker/index.js';
import type { ModelSettings } from '../model-settings.js';
import type { Door } from './door.js';
import { hadFairTime, isDeadlineExceeded, isModelFault, isWorkerLost } from './faults.js';
import type { Fleet } from './fleet.js';
import type { Call, CallInfo, Job } from './job.js';
import type { RateEstimate } from './rate.js';
import { Run } from './run.js';
import type { Settlement } from './settlement.js';
import type { WorkerSlot } from './worker-slot.js';

/** A stream's place in a worker: the stream is read from it, then it is given back. */
export interface Lease {
  readonly job: Job;
  readonly slot: WorkerSlot;
  readonly call: Call;
}

/** What the runs of a model live on, and whom they tell. */
export interface RunsParts {
  readonly settings: ModelSettings;
  readonly clock: Clock;
  readonly calls: Settlement;
  readonly door: Door;
  readonly rate: RateEstimate;
  readonly fleet: () => Fleet;
  /** A worker has a place free again, perhaps. */
  readonly onPlace: (slot: WorkerSlot) => void;
  /** Whether a job that its worker was lost with may run again, as far as its guilt goes. */
  readonly acquit: (job: Job, isAlone: boolean) => boolean;
  /** A job's worker is gone, and it is to be run again. */
  readonly onRetry: (job: Job) => void;
}

export class Runs {
  readonly #parts: RunsParts;
  readonly #clock: Clock;
  readonly #calls: Settlement;
  readonly #jobs: LinkedList<Job> = new LinkedList();
  // Places for runs that are over: what reacts to a worker's answer is made once for the place, not for every run.
  readonly #places: Run[] = [];

  constructor(parts: RunsParts) {
    this.#parts = parts;
    this.#clock = parts.clock;
    this.#calls = parts.calls;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** Gives a job to a worker that has room for it. */
  start(job: Job, slot: WorkerSlot, now: number): void {
    const { operation, controller } = job;
    const first = job.calls.first as Call;
    job.state = 'running';
    job.slot = slot;
    job.attempts += 1;
    job.runningSince = now;
    operation.running += 1;
    operation.waitSeconds.observe((now - first.startedAt) / 1000);
    this.#jobs.push(job);
    slot.begin(job);
    if (operation.declaration.kind === 'stream') {
      this.#calls.watch(first);
      first.resolve({ job, slot, call: first } satisfies Lease);
      return;
    }
    if (controller === undefined) this.#calls.unwatch(first);
    // A shared run has no deadline of its own: its callers', which may come later, are watched here.
    const isTimed = controller === undefined && first.deadline !== Number.POSITIVE_INFINITY;
    const options = {
      signal: controller === undefined ? first.signal : controller.signal,
      // It may have passed since it was looked at last.
      timeoutMs: isTimed ? Math.max(0, first.deadline - now) : undefined,
      traceparent: first.traceparent,
    };
    const { runInContext } = job;
    const reply = (
      runInContext === undefined
        ? slot.handle.call(operation.name, job.input as never, options)
        : runInContext(() => slot.handle.call(operation.name, job.input as never, options))
    ) as Promise<unknown>;
    const place = this.#places.pop() ?? new Run(this.#places, this.#succeeded, this.#failed);
    place.begin(job, slot, reply);
  }

  /** Whether the expiry of a call that is under way counts against the model. */
  isExpiryFault(call: Call): boolean {
    const { state, operation } = call.job;
    // How long the reader of a stream has held the model back is known to its worker alone.
    if (state !== 'running' || operation.declaration.kind !== 'unary') return false;
    return this.#hadFairTime(call);
  }

  /** Nobody waits for a job's answer any more; its place comes free once the model has let go of it. */
  giveUp(job: Job, reason: unknown): void {
    // Nobody may join a run that is being given up.
    job.operation.shared.delete(job.key);
    if (job.controller === undefined) this.#leftEarly(job, job.slot as WorkerSlot);
    else job.controller.abort(reason);
  }

  /** Answers every call whose job a worker has; the jobs leave when their workers end. */
  failAll(errorOf: (job: Job) => unknown): void {
    for (const job of this.#jobs.toArray()) {
      for (const call of job.calls.toArray()) this.#calls.settle(call, 'failed', errorOf(job));
    }
  }

  /** The worker has a stream's call, and watches its deadline and signal from now on. */
  handedOver({ call }: Lease): void {
    this.#calls.unwatch(call);
  }

  /**
   * A stream's call is over, and its place is given back.
   *
   * @param heldBackMs How long its reader has held the model back.
   * @param reply The worker's answer.
   */
  endLease(
    { job, slot, call }: Lease,
    outcome: RequestOutcome,
    error: unknown,
    heldBackMs: number,
    reply: unknown,
  ): void {
    if (job.state !== 'running') return;
    if (outcome === 'succeeded') {
      // Chunks that came in time may be read later.
      this.#ended(job, slot, heldBackMs);
      this.#calls.settle(call, 'succeeded', undefined);
      this.#parts.onPlace(slot);
    } else if (outcome === 'failed') {
      this.#failed(job, slot, error, reply);
    } else {
      const isFault = outcome === 'expired' && this.#hadFairTime(call, reply);
      this.#leftEarly(job, slot);
      this.#calls.settle(call, outcome, error, isFault);
    }
  }

  readonly #succeeded = (job: Job, slot: WorkerSlot, value: unknown): void => {
    if (job.state !== 'running') return;
    const now = this.#clock.now();
    const serviceMs = this.#ended(job, slot, 0);
    for (let call = job.calls.first; call !== undefined; call = job.calls.first) {
      // An answer that comes late is no answer, whatever came of it.
      if (now > call.deadline) {
        this.#calls.settle(call, 'expired', this.#parts.door.tooLate(call), this.#hadFairTime(call));
      } else
        this.#calls.settle(call, 'succeeded', call.isDetailed ? { value, info: infoOf(call, slot, serviceMs) } : value);
    }
    this.#parts.onPlace(slot);
  };

  /** The model has answered. Returns how long that took. */
  #ended(job: Job, slot: WorkerSlot, heldBackMs: number): number {
    const now = this.#clock.now();
    const serviceMs = now - job.runningSince;
    this.#left(job);
    this.#parts.rate.observe(serviceMs);
    // What the model itself takes as a rule; others wait for its place as long as the reader keeps it.
    job.operation.service.observe(Math.max(0, serviceMs - heldBackMs));
    job.operation.serviceSeconds.observe(serviceMs / 1000);
    slot.end(job, now);
    return serviceMs;
  }

  /**
   * Whether a call that has run out of time says something about the model.
   *
   * @param reply The worker's answer, which knows how long the call was inside the model and not in the worker's own queue.
   */
  #hadFairTime(call: Call, reply?: unknown): boolean {
    // What becomes of a stopped worker is counted once, when it is killed.
    if (call.job.slot?.isSilent()) return false;
    const givenMs = timeInModel(reply) ?? call.deadline - call.job.runningSince;
    return hadFairTime(call, givenMs, this.#parts.settings.timeoutMs);
  }

  readonly #failed = (job: Job, slot: WorkerSlot, error: unknown, reply: unknown): void => {
    if (job.state !== 'running') return;
    const now = this.#clock.now();
    const isLost = isWorkerLost(error, slot.handle);
    if (isLost && slot.state === 'accepting') this.#parts.fleet().lost(slot, error);
    if (isLost && slot.state === 'gone' && this.#mayRetry(job, slot, now)) {
      this.#left(job);
      this.#parts.onRetry(job);
      return;
    }
    const isTooLate = (call: Call) => isDeadlineExceeded(error) && now >= call.deadline - 1;
    const calls = job.calls.toArray();
    // A crash has been counted, once for all that it took along.
    const isFault = !isLost && !failedBeforeModel(reply) && isModelFault(error);
    const isEarly = calls.every((call) => call.signal?.aborted || isTooLate(call));
    if (isEarly) this.#leftEarly(job, slot);
    else {
      this.#left(job);
      slot.end(job, now);
      this.#parts.rate.observe(now - job.runningSince);
      if (isFault) job.operation.service.observe(now - job.runningSince);
    }
    for (const call of calls) {
      if (call.signal?.aborted) this.#calls.settle(call, 'cancelled', error);
      else if (isTooLate(call)) this.#calls.settle(call, 'expired', error, this.#hadFairTime(call, reply));
      else this.#calls.settle(call, 'failed', error, isFault);
    }
    if (!isEarly) this.#parts.onPlace(slot);
  };

  #mayRetry(job: Job, slot: WorkerSlot, now: number): boolean {
    const { idempotent, kind } = job.operation.declaration;
    if (!idempotent || kind === 'stream') return false;
    // One that ended by itself is no request's fault, and yet it may do so at each request.
    if (!this.#parts.acquit(job, slot.crashedWith === undefined || slot.crashedWith === 1)) return false;
    return job.calls.toArray().some((call) => call.deadline > now && !call.signal?.aborted);
  }

  #left(job: Job): void {
    this.#jobs.remove(job);
    job.operation.running -= 1;
    job.close();
  }

  // The answer is decided, but the model may still be at it.
  #leftEarly(job: Job, slot: WorkerSlot): void {
    if (job.state !== 'running') return;
    this.#left(job);
    slot.endEarly(job, () => this.#parts.onPlace(slot));
    this.#parts.onPlace(slot);
  }
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
