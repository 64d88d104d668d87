/**
 * One model's admitted requests: the queue, the worker that each is given to, what becomes of it, and the ledger.
 *
 * Invariants:
 * - A request is bound to a worker only when that worker has a free place; until then it waits here, so nothing waits behind a slow worker while another
 *   is free. Whenever anything is queued, no worker has room for it. One whose deadline has passed is never given to a worker.
 * - A job is among the running ones exactly while its phase is `running`; it leaves once, by the first of answer, deadline, abort, shutdown and loss.
 *   A call is settled once; if it was accepted the ledger counts it then.
 * - A failure counts against the model where it failed in the model. One crash counts once, however many requests it took along.
 * - With `refuseEarly`, from the first request that had to be turned away or ran out of time until the queue is next empty, the newest goes first: in
 *   order of age every request would get to a worker with its last milliseconds, and the smallest delay would make all of them late.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Channel } from 'node:diagnostics_channel';
import { type Clock, LinkedList } from '../../core/index.js';
import { inNeutralContext, isLive, type Outcome, type StreamingRequest } from '../../worker/internal.js';
import { CircuitBreaker } from '../breaker.js';
import { closedError, lateError, noRoomError } from '../errors.js';
import type { ModelSettings } from '../model-options.js';
import { RateEstimate } from '../observe/counts.js';
import { type PoolEvent, poolChannel } from '../observe/events.js';
import type { PoolSettings } from '../pool-options.js';
import type { StartWorker, WorkerSource } from '../pooled-worker.js';
import type { Priority } from '../priority.js';
import type { SpareHosts } from '../spare-hosts.js';
import { Fleet, type FleetOwner, type ModelFleet } from './fleet.js';
import { FoundFleet } from './found-fleet.js';
import type { Call, CallInfo, Job, JobOwner } from './job.js';
import { JobQueue, OperationQueue } from './job-queue.js';
import type { WorkerSlot } from './workers.js';

const SETTLED = poolChannel('settle');
const REFUSED = poolChannel('refuse');
const RETRY_GUESS_MS = 100;
/** How many times its operation's usual time a call must have had before its expiry says something about the model. */
const FAIR_FACTOR = 4;
/** And how much time at least, in ms: less is lost to a busy event loop. */
const FAIR_MS = 20;

/** An event without what is the same for all of a model. */
export type ModelEvent = DistributiveOmit<PoolEvent, 'pool' | 'model' | 'at'>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

export class Dispatcher implements JobOwner, FleetOwner {
  readonly operations: ReadonlyMap<string, OperationQueue>;
  readonly breaker: CircuitBreaker | undefined;
  readonly fleet: ModelFleet;
  /** Called each time a place may have come free, or the number of places may have changed. */
  readonly onChange: Set<() => void> = new Set();
  /** How long requests take inside a worker. */
  readonly rate: RateEstimate = new RateEstimate();
  readonly #settings: ModelSettings;
  readonly #pool: PoolSettings;
  readonly #clock: Clock;
  readonly #emit: (event: ModelEvent) => void;
  readonly #queue: JobQueue;
  readonly #running: LinkedList<Job> = new LinkedList();
  readonly #pump = (): void => this.pump();
  readonly #enter = (job: Job): void => this.#enterFromOutside(job);
  /** Calls that were accepted and are not settled. */
  #pending = 0;
  #onQuiet: (() => void)[] = [];
  #isOverloaded = false;
  #isDestroyed = false;

  constructor(
    settings: ModelSettings,
    pool: PoolSettings,
    workers: StartWorker | WorkerSource,
    spares: SpareHosts | undefined,
    emit: (event: ModelEvent) => void,
  ) {
    this.#settings = settings;
    this.#pool = pool;
    this.#clock = pool.clock;
    this.#emit = emit;
    const onBreaker = (from: CircuitBreaker['state'], to: CircuitBreaker['state']): void =>
      emit({ type: 'breaker', from, to });
    this.breaker =
      settings.breaker === undefined ? undefined : new CircuitBreaker(settings.breaker, pool.clock, onBreaker);
    this.operations = new Map(
      Object.entries(settings.operations).map(([name, each]) => [name, new OperationQueue(name, each, settings)]),
    );
    this.#queue = new JobQueue(this.operations, settings, pool.clock, () => this.fleet.check());
    this.fleet =
      typeof workers === 'function'
        ? new Fleet(this, settings, pool, workers, spares)
        : new FoundFleet(this, settings, pool, workers);
  }

  get queued(): number {
    return this.#queue.size;
  }

  get waitingSince(): number | undefined {
    return this.#queue.waitingSince;
  }

  /** Calls that wait outside for room in the queue. */
  get outside(): number {
    return this.#queue.outside;
  }

  /** Requests that workers have. */
  get running(): number {
    return this.#running.size;
  }

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

  // --- admission

  /** The worker that would get a request of that class at once, if any has room and nothing is before it. */
  freeWorker(priority: Priority): WorkerSlot | undefined {
    // Requests held back by a reserve delay no others.
    const isFirst = this.#queue.ordinary === 0 || (priority !== 'batch' && this.#queue.isAllBulk);
    return isFirst ? this.fleet.workers.pick(priority) : undefined;
  }

  hasRoom(operation: OperationQueue, bytes: number): boolean {
    return this.#queue.hasRoom(operation, bytes);
  }

  /** Whether a request that no worker is free for would be answered within its deadline, as far as the answers so far tell. */
  canMeet(timeoutMs: number): boolean {
    const ahead = this.#queue.size + this.#queue.outside + 1;
    const waitMs = this.rate.waitMs(ahead, this.fleet.workers.places);
    return waitMs === undefined || waitMs + this.rate.likelyServiceMs <= timeoutMs;
  }

  /** When a new attempt has a fair chance, in ms: half of what waits now will have been served. */
  get retryAfterMs(): number {
    const waitMs = this.rate.waitMs((this.#queue.size + 1) / 2, this.fleet.workers.places);
    return Math.max(1, Math.ceil(waitMs ?? Math.max(RETRY_GUESS_MS, this.fleet.backOffMs)));
  }

  /** Counts a call that is turned away, and answers why it is. `isOverload` says that there was no room for it. */
  refused<E>(operation: OperationQueue, error: E, isOverload = false): E {
    if (isOverload) this.#isOverloaded = this.#queue.size > 0;
    operation.ledger.refused += 1;
    if (REFUSED.hasSubscribers) this.#publish(REFUSED, operation, { error });
    return error;
  }

  /** Takes an admitted job: gives it to the worker that is free, or queues it, or has it wait for room. */
  take(job: Job, slot: WorkerSlot | undefined): void {
    const call = job.calls.first as Call;
    this.#keepContext(call);
    if (slot !== undefined) {
      this.#accept(call);
      this.#run(job, slot, call.startedAt);
      return;
    }
    job.request.owner = job;
    if (this.#queue.hasRoom(job.operation, job.bytes)) this.#queueUp(job);
    else this.#queue.pushOutside(job);
    this.fleet.workers.askParked(this.#pump);
    // The time may be over for which a worker is kept from it.
    if (this.fleet.workers.isKeeping) this.pump();
  }

  /** Takes a call that shares the run of a job that is here. */
  join(call: Call, priority: Priority): void {
    const { job } = call;
    this.#keepContext(call);
    job.operation.ledger.coalesced += 1;
    if (job.phase !== 'waiting') this.#accept(call);
    this.#queue.promote(job, priority);
  }

  /** Accepts a call that has no time at all, and answers it. */
  expireAtOnce(call: Call): Error {
    const error = lateError(this.#settings.key, call.job.operation.name, call.timeoutMs);
    this.#keepContext(call);
    this.#accept(call);
    call.job.become('over');
    this.#settle(call, 'expired', error);
    return error;
  }

  #queueUp(job: Job): void {
    for (let call = job.calls.first; call !== undefined; call = call.next) this.#accept(call);
    job.request.phase = 'queued';
    this.#queue.push(job);
  }

  // Timers may be late: what ran out of time outside was never let in.
  #enterFromOutside(job: Job): void {
    if (this.#dropExpired(job, 0)) this.#queueUp(job);
  }

  // --- from the queue to a worker

  /** Gives requests to workers as long as there are both. */
  pump(): void {
    while (this.#queue.size > 0) {
      const next = this.#next();
      if (next === undefined) {
        this.fleet.workers.askParked(this.#pump);
        return;
      }
      const { job, slot } = next;
      // With `refuseEarly`, what would most likely run out of time in the model gives way to others that can still make it.
      const needMs = this.#settings.refuseEarly && this.#queue.size > 0 ? this.rate.likelyServiceMs : 0;
      if (this.#dropExpired(job, needMs)) this.#run(job, slot, this.#clock.now());
      this.#queue.admitOutside(job.operation, this.#enter);
    }
    this.#isOverloaded = false;
    this.fleet.workers.keepNone();
  }

  // A suspect and a worker to itself, else the job whose turn it is and a worker with room for any, or the most urgent job where only the reserve is
  // left.
  #next(): { readonly job: Job; readonly slot: WorkerSlot } | undefined {
    const { workers } = this.fleet;
    if (this.#queue.suspects > 0) {
      const free = workers.pickAlone(this.#clock.now());
      if (free !== undefined) return { job: this.#queue.takeSuspect() as Job, slot: free };
    } else workers.keepNone();
    if (this.#queue.ordinary === 0) return undefined;
    const newest = this.#isOverloaded && this.#settings.refuseEarly;
    const open = workers.pick('batch');
    if (open !== undefined) return { job: this.#queue.take(newest) as Job, slot: open };
    if (this.#settings.reserve === 0 || this.#queue.isAllBulk) return undefined;
    const reserved = workers.pick('normal');
    return reserved && { job: this.#queue.takeUrgent(newest) as Job, slot: reserved };
  }

  // Settles the calls of a job that will have no time left in `needMs`, before their timers could say so. False when none is left.
  #dropExpired(job: Job, needMs: number): boolean {
    const now = this.#clock.now();
    const isLate = (call: Call): boolean => call.deadline <= now || call.deadline < now + needMs;
    for (const call of job.calls.toArray()) {
      if (!isLate(call)) continue;
      if (job.calls.size === 1) job.request.giveUp('expired', this.expiryError(job));
      else this.#settle(call, 'expired', this.#expiryErrorOf(call));
    }
    return job.phase !== 'over';
  }

  #run(job: Job, slot: WorkerSlot, now: number): void {
    const { operation } = job;
    job.become('running');
    job.slot = slot;
    job.worker = slot.id;
    job.request.priority = job.priority;
    job.attempts += 1;
    job.runningSince = now;
    operation.running += 1;
    operation.waitSeconds.observe((now - (job.calls.first as Call).startedAt) / 1000);
    this.#running.push(job);
    for (let call = job.calls.first; call !== undefined; call = call.next) call.tracer?.run(slot.id, now);
    slot.begin(job);
    slot.worker.start(job.request);
  }

  // --- what becomes of it

  answered(job: Job, outcome: Outcome, result: unknown): void {
    const wasQueued = this.#queue.remove(job);
    const isRunning = job.phase === 'running';
    if (isRunning) this.#leaveRunning(job);
    else if (outcome === 'expired') this.#isOverloaded = true;
    const now = this.#clock.now();
    const isByModel = isRunning && !job.isLost && !this.#isDestroyed && !job.request.isUnreached;
    job.isServed = isByModel && (outcome === 'succeeded' || outcome === 'failed');
    const isFault = job.isServed && outcome === 'failed' && isModelFault(result);
    if (job.isServed) this.#observe(job, now, outcome === 'succeeded', isFault);
    if (isRunning) (job.slot as WorkerSlot).answered(job);
    job.become('over');
    for (let call = job.calls.first; call !== undefined; call = job.calls.first) {
      // An answer that comes late is no answer, whatever came of it. A stream's reader may take what came in time later.
      const isLate = outcome === 'succeeded' && now > call.deadline && job.request.kind === 'unary';
      if (outcome === 'expired' || isLate) {
        const error = isRunning ? this.#expiryErrorOf(call) : result;
        this.#settle(call, 'expired', error, isRunning && this.#hadFairTime(call));
      } else if (outcome === 'succeeded' && call.isDetailed) {
        this.#settle(call, outcome, { value: result, info: infoOf(call, now) });
      } else this.#settle(call, outcome, result, isFault);
    }
    if (!wasQueued) return;
    this.#changed();
    this.#queue.admitOutside(job.operation, this.#enter);
    // A worker that was kept free for it may be given others.
    if (this.#queue.size === 0 || job.isSuspect) this.pump();
  }

  leave(call: Call, outcome: 'expired' | 'cancelled', reason: unknown): void {
    const { job } = call;
    const isRunning = job.phase === 'running';
    if (outcome === 'expired' && !isRunning) this.#isOverloaded = true;
    const error = outcome === 'expired' ? this.#expiryErrorOf(call) : reason;
    this.#settle(call, outcome, error, outcome === 'expired' && isRunning && this.#hadFairTime(call));
    if (job.calls.size > 0) return;
    // No call joins a run that is being given up.
    job.closeToOthers();
    job.request.giveUp('cancelled', error);
  }

  released(job: Job): void {
    const { slot } = job;
    if (slot === undefined) return;
    // Before it is counted as gone: whether another was alone with it in a worker that has crashed is asked next.
    const { state } = slot.worker;
    if (!isLive(state.current)) this.fleet.lost(slot, state.borrow().cause);
    slot.released(job);
    if (this.#queue.size > 0) this.pump();
    this.fleet.released(slot);
    this.#changed();
  }

  mayRetry(job: Job, error: unknown): boolean {
    const slot = job.slot as WorkerSlot;
    const { idempotent, kind } = job.operation.declaration;
    // The requests of a crashed worker may hear of it before its state tells of it.
    this.fleet.lost(slot, error);
    const isAlone = slot.crashedWith === undefined || slot.crashedWith === 1;
    const now = this.#clock.now();
    const mayRetry =
      idempotent &&
      kind === 'unary' &&
      job.request.isRepeatable &&
      // One that ended by itself is no request's fault, and yet it may do so at each request.
      this.#queue.acquit(job, isAlone) &&
      job.calls.toArray().some((call) => call.deadline > now);
    job.isLost = !mayRetry;
    return mayRetry;
  }

  retry(job: Job, error: unknown): void {
    const { operation, slot } = job;
    this.#goBack(job, error);
    operation.ledger.retried += 1;
    job.request.owner = job;
    job.slot = undefined;
    // A worker that has ended by itself was crashed by none of its requests.
    if (slot?.crashedWith === undefined && !job.isSuspect) this.#queue.pushFront(job);
    else this.#queue.pushSuspect(job);
    this.pump();
  }

  givenBack(job: Job, isUntouched: boolean): void {
    const slot = job.slot as WorkerSlot;
    this.#goBack(job, undefined);
    if (isUntouched) job.attempts -= 1;
    else job.operation.ledger.retried += 1;
    job.request.owner = job;
    job.slot = undefined;
    slot.letGo(job);
    this.#queue.pushFront(job);
    this.pump();
  }

  expiryError(job: Job): Error {
    return this.#expiryErrorOf(job.calls.first as Call);
  }

  // Its worker has it no more, and has not answered it.
  #goBack(job: Job, error: unknown): void {
    this.#leaveRunning(job);
    for (let call = job.calls.first; call !== undefined; call = call.next) {
      call.tracer?.leaveRun(error, this.#clock.now());
    }
  }

  #leaveRunning(job: Job): void {
    this.#running.remove(job);
    job.operation.running -= 1;
  }

  #observe(job: Job, now: number, isSuccess: boolean, isFault: boolean): void {
    const { operation, request } = job;
    const serviceMs = now - job.runningSince;
    this.rate.observe(serviceMs);
    if (isSuccess) {
      // What the model itself takes as a rule; others wait for its place as long as the reader keeps it.
      const heldBackMs = request.kind === 'stream' ? (request as StreamingRequest).heldBackMs : 0;
      operation.service.observe(Math.max(0, serviceMs - heldBackMs));
      operation.serviceSeconds.observe(serviceMs / 1000);
    } else if (isFault) operation.service.observe(serviceMs);
  }

  #expiryErrorOf(call: Call): Error {
    const { key } = this.#settings;
    const { name } = call.job.operation;
    return call.isAccepted
      ? lateError(key, name, call.timeoutMs)
      : noRoomError(key, name, `no room in its queue within ${call.timeoutMs} ms`, this.retryAfterMs);
  }

  /**
   * Whether a model had a call for a fair time before its deadline: several times what the operation takes as a rule, or most of the model's own
   * `timeoutMs`, where the caller has given it that: a part of that goes by while a worker starts. A call that waited for others had none.
   */
  #hadFairTime({ job, timeoutMs, deadline }: Call): boolean {
    // What becomes of a stopped worker is counted once, when it is killed.
    if (job.slot?.isSilent() || waitsForOthers(job)) return false;
    const givenMs = job.isShared ? deadline - job.runningSince : job.request.msInModel;
    const { serviceMs } = job.operation.service;
    const ownMs = timeoutMs >= this.#settings.timeoutMs ? this.#settings.timeoutMs / 2 : Number.POSITIVE_INFINITY;
    const usualMs = serviceMs === undefined ? Number.POSITIVE_INFINITY : Math.max(FAIR_MS, FAIR_FACTOR * serviceMs);
    const fairMs = Math.min(ownMs, usualMs);
    // Clocks that count fractions may lose a little of one.
    return fairMs !== Number.POSITIVE_INFINITY && givenMs >= fairMs - 1;
  }

  // --- the ledger

  #accept(call: Call): void {
    call.isAccepted = true;
    call.job.operation.ledger.accepted += 1;
    this.#pending += 1;
  }

  /** Answers a call, once. `isFault` says whether a failure counts against the model. */
  #settle(call: Call, outcome: Outcome, result: unknown, isFault = false): void {
    if (call.isSettled) return;
    call.isSettled = true;
    call.unwatch();
    const { job, reply, ticket } = call;
    const { ledger } = job.operation;
    job.calls.remove(call);
    if (outcome === 'succeeded') ticket?.success();
    else if (isFault) ticket?.failure();
    else ticket?.neutral();
    if (call.isAccepted) {
      ledger[outcome] += 1;
      this.#pending -= 1;
    } else ledger.refused += 1;
    const shown = call.isAccepted ? outcome : 'refused';
    const error = outcome === 'succeeded' ? undefined : result;
    if (SETTLED.hasSubscribers) {
      const message = { outcome: shown, worker: job.slot?.id, error };
      (call.inContext ?? inNeutralContext)(() => this.#publish(SETTLED, job.operation, message));
    }
    call.tracer?.end(shown, error, this.#clock.now());
    if (outcome === 'succeeded') reply.resolve(result);
    else reply.reject(result);
    if (this.#pending === 0) for (const resolve of this.#onQuiet.splice(0)) resolve();
  }

  // Keeps the async context of a call, where a listener will be told in it how the call ended.
  #keepContext(call: Call): void {
    if (SETTLED.hasSubscribers) call.inContext = AsyncLocalStorage.snapshot();
  }

  #publish(channel: Channel, { name }: OperationQueue, what: object): void {
    const { key } = this.#settings;
    channel.publish({ pool: this.#pool.name, model: key, operation: name, at: this.#clock.now(), ...what });
  }

  #changed(): void {
    for (const listener of this.onChange) listener();
  }

  // --- what the workers tell

  onRoom(): void {
    this.pump();
    this.#changed();
  }

  onNoWorkers(error: unknown): void {
    this.#failQueued(error);
  }

  onWorker(type: 'start' | 'ready' | 'evict' | 'end', worker: string): void {
    this.#emit({ type, worker });
  }

  onLoadFailure(error: unknown, backOffMs: number): void {
    // Once for the load, however many calls waited for it; a shortage of memory is not the model's fault.
    if (isModelFault(error)) this.breaker?.recordFailure();
    this.#emit({ type: 'load-failure', error, backOffMs });
  }

  onCrash(worker: string, error: unknown, held: number): void {
    // Once for all that it held.
    if (held > 0) this.breaker?.recordFailure();
    this.#emit({ type: 'crash', worker, error });
  }

  // --- the end

  /** Refuses the calls that wait for room; resolves once every accepted one is answered. */
  drain(why: string): Promise<void> {
    const { key } = this.#settings;
    for (const job of this.#queue.jobsOutside()) {
      job.request.giveUp('failed', closedError(key, job.operation.name, why));
    }
    return this.#pending === 0 ? Promise.resolve() : new Promise((resolve) => this.#onQuiet.push(resolve));
  }

  /** Answers everything now. */
  failAll(why: string, cause: unknown): void {
    const { key } = this.#settings;
    this.#isDestroyed = true;
    this.#failQueued(closedError(key, undefined, why, cause));
    for (const job of this.#running.toArray()) {
      job.request.giveUp('failed', closedError(key, job.operation.name, why, cause));
    }
  }

  // Those outside first: the place of a queued one would else be given to them.
  #failQueued(error: unknown): void {
    for (const job of this.#queue.jobsOutside()) job.request.giveUp('failed', error);
    for (const job of this.#queue.jobs()) job.request.giveUp('failed', error);
    this.fleet.workers.keepNone();
  }
}

/** Whether a failure that came out of a model says something about it: bad input, aborts and shortage of room or memory do not. */
function isModelFault(thrown: unknown): boolean {
  try {
    const fault = (thrown as { fault?: unknown } | null | undefined)?.fault;
    // Any other error was thrown by the model's own code.
    return fault === undefined || fault === 'model';
  } catch {
    return true;
  }
}

function waitsForOthers({ operation, request }: Job): boolean {
  try {
    return operation.declaration.waitsForOthers?.(request.peekInput() as never) === true;
  } catch {
    return false;
  }
}

function infoOf({ job, startedAt, isCoalesced }: Call, now: number): CallInfo {
  return {
    worker: job.worker,
    queuedMs: Math.max(0, job.runningSince - startedAt),
    serviceMs: now - job.runningSince,
    attempts: job.attempts,
    coalesced: isCoalesced,
  };
}
