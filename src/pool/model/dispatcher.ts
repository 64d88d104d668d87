/**
 * One model's requests: admission, queue, late binding, answers.
 *
 * Invariants:
 * - A request is bound to a worker only when that worker has a free place; until then it waits here, so nothing waits behind a slow worker while
 *   another is free. Whenever anything is queued, no worker has room for it.
 * - While a request waits, its deadline and signal are watched here; with a worker, the worker's handle watches them, save for shared runs, whose
 *   callers come and go one by one. A request whose deadline has passed is never given to a worker.
 * - With `refuseEarly`, from the first request that had to be turned away or ran out of time until the queue is next empty, the newest goes first:
 *   in order of age every request would get to a worker with its last milliseconds, and the smallest delay would make all of them late.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Clock, describeReceived } from '../../core/index.js';
import { blameCaller } from '../../worker/index.js';
import { CircuitBreaker, NO_PASS } from '../breaker.js';
import type { ModelSettings } from '../model-settings.js';
import type { PoolSettings } from '../pool-settings.js';
import type { Priority } from '../priority.js';
import { Door } from './door.js';
import type { Fleet } from './fleet.js';
import { Call, Job } from './job.js';
import { JobQueue } from './job-queue.js';
import { OperationQueue } from './operation-queue.js';
import { RateEstimate } from './rate.js';
import { Runs } from './runs.js';
import { Settlement } from './settlement.js';
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
  /** Told of the call, for one that is not refused. */
  readonly onCall?: ((call: Call) => void) | undefined;
}

// One executor for all promises: it runs at once, so what it is given can be picked up right after.
let resolveLatest: (value: unknown) => void;
let rejectLatest: (error: unknown) => void;
function pickUp(resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
  resolveLatest = resolve;
  rejectLatest = reject;
}

/** A deadline of less than this, in ms, is none that a clock could tell from now. */
const SHORTEST_MS = 0.001;

function requireCost(operation: string, cost: unknown): number {
  if (typeof cost === 'number' && cost >= 0 && cost < Number.POSITIVE_INFINITY) return cost;
  const message = `Cannot call ${operation}: costOf must answer a finite, non-negative number, received ${describeReceived(cost)}`;
  throw typeof cost === 'number' ? new RangeError(message) : new TypeError(message);
}

export class Dispatcher {
  readonly operations: ReadonlyMap<string, OperationQueue>;
  readonly breaker: CircuitBreaker | undefined;
  readonly rate: RateEstimate = new RateEstimate();
  breakerRejections = 0;
  readonly #settings: ModelSettings;
  readonly #clock: Clock;
  readonly #queue: JobQueue;
  readonly #door: Door;
  readonly #calls: Settlement;
  readonly #runs: Runs;
  #isOverloaded = false;
  readonly #enter = (job: Job): void => {
    // Timers may be late: what ran out of time outside was never let in.
    const now = this.#clock.now();
    for (const call of job.calls.toArray()) {
      if (call.deadline <= now) this.#calls.settle(call, 'expired', this.#door.noRoomInTime(call));
    }
    if (job.calls.size === 0) {
      job.close();
      return;
    }
    this.#queueUp(job);
  };
  readonly #pump = (): void => this.pump();
  #fleet: Fleet | undefined;

  constructor(settings: ModelSettings, pool: PoolSettings, onBreaker: ConstructorParameters<typeof CircuitBreaker>[2]) {
    this.#settings = settings;
    this.#clock = pool.clock;
    this.breaker =
      settings.breaker === undefined ? undefined : new CircuitBreaker(settings.breaker, pool.clock, onBreaker);
    this.operations = new Map(
      Object.entries(settings.operations).map(([name, declaration]) => [
        name,
        new OperationQueue(name, declaration, settings.coalesce.get(name), settings.shares),
      ]),
    );
    this.#queue = new JobQueue(this.operations, settings, pool.clock, () => this.#workers.check());
    this.#door = new Door({ settings, queue: this.#queue, rate: this.rate, fleet: () => this.#workers });
    this.#calls = new Settlement(pool.name, settings.key, pool.clock, this.breaker, {
      expired: (call) => {
        if (call.job.state !== 'running') this.#isOverloaded = true;
        const error = call.isAccepted ? this.#door.tooLate(call) : this.#door.noRoomInTime(call);
        this.#giveUp(call, 'expired', error);
      },
      aborted: (call) => this.#giveUp(call, 'cancelled', call.signal?.reason),
    });
    this.#runs = new Runs({
      settings,
      clock: pool.clock,
      calls: this.#calls,
      door: this.#door,
      rate: this.rate,
      fleet: () => this.#workers,
      onPlace: (slot) => {
        if (this.#queue.size > 0) this.pump();
        this.#workers.answered(slot);
      },
      acquit: (job, isAlone) => this.#queue.acquit(job, isAlone),
      onRetry: (job) => this.#retry(job),
    });
  }

  set fleet(fleet: Fleet) {
    this.#fleet = fleet;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Since when something has waited without a break. */
  get waitingSince(): number | undefined {
    return this.#queue.waitingSince;
  }

  /** Calls that wait outside for room in the queue. */
  get outside(): number {
    return this.#queue.outside;
  }

  /** How long the answers so far took. */
  measured(): { readonly answers: number; readonly p99Ms: number | undefined } {
    let answers = 0;
    let p99Ms: number | undefined;
    for (const { serviceSeconds } of this.operations.values()) {
      const seconds = serviceSeconds.quantile(0.99);
      if (seconds === undefined) continue;
      answers += serviceSeconds.count;
      p99Ms = Math.max(p99Ms ?? 0, 1000 * seconds);
    }
    return { answers, p99Ms };
  }

  get running(): number {
    return this.#runs.size;
  }

  /** Takes a request. Never throws: every failure comes through the promise. A stream operation is answered with a `Lease`. */
  submit(name: string, input: unknown, options: CallSettings): Promise<unknown> {
    const operation = this.operations.get(name);
    if (operation === undefined) return Promise.reject(this.#door.unknown(name));
    if (options.signal?.aborted) return this.#calls.refuse(operation, options.signal.reason);
    if (this.#door.closing !== undefined) return this.#calls.refuse(operation, this.#door.closed(name));
    const { timeoutMs = this.#settings.timeoutMs } = options;
    let job: Job;
    try {
      const key = operation.keyOf?.(input as never);
      const twin = key === undefined ? undefined : operation.shared.get(key);
      if (twin !== undefined && timeoutMs >= SHORTEST_MS) {
        // Who does not wait for room does not do so with another.
        const refusal =
          options.isTry && twin.state !== 'running'
            ? this.#door.overloaded(name, true, timeoutMs, twin.state === 'queued')
            : undefined;
        return refusal === undefined ? this.#join(twin, options) : this.#calls.refuse(operation, refusal);
      }
      const cost = this.#settings.costOf?.(name, input) ?? 1;
      job = new Job(operation, input, options.priority, operation.sizeOf(input), requireCost(name, cost), key);
    } catch (error) {
      blameCaller(error);
      return this.#calls.refuse(operation, error);
    }
    // Measuring runs code of the caller's.
    if (options.signal?.aborted) return this.#calls.refuse(operation, options.signal.reason);
    if (timeoutMs < SHORTEST_MS) return this.#expireAtOnce(job, options);
    let pass = NO_PASS;
    if (this.breaker !== undefined) {
      pass = this.breaker.enter();
      if (pass === NO_PASS) {
        this.breakerRejections += 1;
        return this.#calls.refuse(operation, this.#door.broken(name, this.breaker));
      }
    }
    // What is held back by a reserve is in nobody's way.
    const isFirst = this.#queue.ordinary === 0 || (options.priority !== 'batch' && this.#queue.isAllBulk);
    const worker = isFirst ? this.#workers.slots.pick(options.priority) : undefined;
    const hasRoom = worker !== undefined || this.#queue.hasRoom(operation, job.bytes);
    // A free worker gets its request whatever the door's estimate says, which would else never be corrected.
    if (worker === undefined) {
      const refusal = this.#door.overloaded(name, options.isTry, timeoutMs, hasRoom);
      if (refusal !== undefined) {
        this.#isOverloaded = this.#queue.size > 0;
        this.breaker?.settle(pass, 'neutral');
        return this.#calls.refuse(operation, refusal);
      }
    }
    const answer = new Promise(pickUp);
    const call = this.#newCall(job, resolveLatest, rejectLatest, options);
    call.pass = pass;
    if (job.key !== undefined) operation.shared.set(job.key, job);
    if (worker !== undefined) {
      this.#accept(job);
      if (job.controller !== undefined) this.#calls.watch(call);
      this.#runs.start(job, worker, call.startedAt);
      return answer;
    }
    this.#calls.watch(call);
    job.runInContext = AsyncLocalStorage.snapshot();
    if (hasRoom) this.#queueUp(job);
    else this.#queue.pushOutside(job);
    this.#workers.slots.askParked(this.#pump);
    // The time may be over for which a worker is kept from it.
    if (this.#workers.slots.isKeeping) this.pump();
    return answer;
  }

  /** Gives requests to workers as long as there are both. */
  pump(): void {
    while (this.#queue.size > 0) {
      const next = this.#next();
      if (next === undefined) {
        this.#workers.slots.askParked(this.#pump);
        return;
      }
      const { job, slot } = next;
      if (this.#dropExpired(job)) this.#runs.start(job, slot, this.#clock.now());
      this.#queue.admitOutside(job.operation, this.#enter);
    }
    this.#isOverloaded = false;
    this.#workers.slots.keepNone();
  }

  // A suspect and a worker to itself, else the job whose turn it is and a worker with room for any, or the most urgent job where only the reserve is
  // left.
  #next(): { readonly job: Job; readonly slot: WorkerSlot } | undefined {
    if (this.#queue.suspects > 0) {
      const free = this.#workers.slots.pickAlone(this.#clock.now());
      if (free !== undefined) return { job: this.#queue.takeSuspect() as Job, slot: free };
    } else this.#workers.slots.keepNone();
    if (this.#queue.ordinary === 0) return undefined;
    const newest = this.#isOverloaded && this.#settings.refuseEarly;
    const open = this.#workers.slots.pick('batch');
    if (open !== undefined) return { job: this.#queue.take(newest) as Job, slot: open };
    if (this.#settings.reserve === 0 || this.#queue.isAllBulk) return undefined;
    const reserved = this.#workers.slots.pick('normal');
    return reserved && { job: this.#queue.takeUrgent(newest) as Job, slot: reserved };
  }

  /** Answers everything that waits with a failure; what workers have stays with them. */
  failQueued(error: unknown): void {
    for (const job of [...this.#queue.jobs(), ...this.#queue.jobsOutside()]) this.#failWaiting(job, error);
    this.#workers.slots.keepNone();
  }

  /** Refuses new calls from now on, and those that wait for room; resolves once every accepted one is answered. */
  drain(why: string): Promise<void> {
    this.#door.closing ??= why;
    for (const job of this.#queue.jobsOutside()) this.#failWaiting(job, this.#door.closed(job.operation.name));
    return this.#calls.quiet();
  }

  /** Answers everything now. */
  failAll(why: string, cause: unknown): void {
    this.#door.closing = why;
    this.failQueued(this.#door.closed(undefined, cause));
    this.#runs.failAll((job) => this.#door.closed(job.operation.name, cause));
  }

  /** Gives up a call, at whatever stage it is. */
  giveUp(call: Call, reason: unknown): void {
    if (!call.isSettled) this.#giveUp(call, 'cancelled', reason);
  }

  /** What streams are read through. */
  get leases(): Pick<Runs, 'handedOver' | 'endLease'> {
    return this.#runs;
  }

  get #workers(): Fleet {
    return this.#fleet as Fleet;
  }

  #newCall(
    job: Job,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
    { signal, timeoutMs = this.#settings.timeoutMs, isDetailed, traceparent, onCall }: CallSettings,
  ): Call {
    const call = new Call(job, resolve, reject, signal, this.#clock.now(), timeoutMs, isDetailed, traceparent);
    job.calls.push(call);
    this.#calls.keepContext(call);
    onCall?.(call);
    return call;
  }

  // It has no time at all: accepted and answered without being queued.
  #expireAtOnce(job: Job, options: CallSettings): Promise<unknown> {
    const answer = new Promise(pickUp);
    const call = this.#newCall(job, resolveLatest, rejectLatest, options);
    this.#calls.accept(call);
    job.close();
    this.#calls.settle(call, 'expired', this.#door.tooLate(call));
    return answer;
  }

  // An identical request is under way: its answer will be this one's too.
  #join(job: Job, options: CallSettings): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const call = this.#newCall(job, resolve, reject, options);
      call.isCoalesced = true;
      job.operation.ledger.coalesced += 1;
      if (job.state !== 'waiting') this.#calls.accept(call);
      this.#calls.watch(call);
      this.#queue.promote(job, options.priority);
    });
  }

  #queueUp(job: Job): void {
    this.#accept(job);
    this.#queue.push(job);
  }

  #accept(job: Job): void {
    for (let call = job.calls.first; call !== undefined; call = call.next) this.#calls.accept(call);
  }

  #failWaiting(job: Job, error: unknown): void {
    this.#takeOut(job);
    for (const call of job.calls.toArray()) this.#calls.settle(call, 'failed', error);
  }

  #takeOut(job: Job): void {
    this.#queue.remove(job);
    job.close();
  }

  // One caller leaves; the run goes on if others wait for it.
  #giveUp(call: Call, outcome: 'expired' | 'cancelled', error: unknown): void {
    const { job } = call;
    const { operation } = job;
    this.#calls.settle(call, outcome, error, outcome === 'expired' && this.#runs.isExpiryFault(call));
    if (job.calls.size > 0) return;
    if (job.state === 'running') {
      this.#runs.giveUp(job, error);
      return;
    }
    this.#takeOut(job);
    this.#queue.admitOutside(operation, this.#enter);
    // A worker that was kept free for it may be given others.
    if (this.#queue.size === 0 || job.isSuspect) this.pump();
  }

  // Settles the calls of a job that ran out of time before their timers could say so, and with `refuseEarly` those that most likely will while the
  // model is at them, as long as others wait that can still make it. False when none is left.
  #dropExpired(job: Job): boolean {
    const now = this.#clock.now();
    const needMs = this.#settings.refuseEarly && this.#queue.size > 0 ? this.rate.likelyServiceMs : 0;
    for (let call = job.calls.first, next: Call | undefined; call !== undefined; call = next) {
      next = call.next;
      if (call.deadline <= now || call.deadline < now + needMs) {
        this.#calls.settle(call, 'expired', this.#door.tooLate(call));
      }
    }
    if (job.calls.size > 0) return true;
    job.close();
    return false;
  }

  #retry(job: Job): void {
    const { operation } = job;
    operation.ledger.retried += 1;
    for (let call = job.calls.first; call !== undefined; call = call.next) this.#calls.watch(call);
    if (job.key !== undefined) operation.shared.set(job.key, job);
    // A worker that has ended by itself was crashed by none of its requests.
    if (job.slot?.crashedWith === undefined) this.#queue.pushFront(job);
    else this.#queue.pushSuspect(job);
    this.pump();
  }
}
