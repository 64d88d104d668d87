/**
 * The workers of one model: starts them, watches them, replaces them, evicts them. A worker itself has one life.
 *
 * Invariants:
 * - A slot's memory guard is disposed of once, when its worker is gone. `starting` counts the starts under way, those that wait for memory included.
 * - At most one timer runs, for the next moment at which time alone changes the scaling decision. The decision is made anew whenever anything changes
 *   that it depends on: something waits after nothing did, a start ends, a worker leaves or is gone, that timer. So while a request waits a worker is
 *   there, is coming, or is due.
 * - Everything here is synchronous save the waiting for a worker, and nothing holds a lock, so registration, maintenance and shutdown cannot wait for
 *   each other.
 */
import type { Clock, ClockTimer } from '../../core/index.js';
import type { SpareHost, WorkerState } from '../../worker/index.js';
import { inNeutralContext } from '../../worker/internal.js';
import type { MemoryGuard, MemoryReclaimer } from '../memory-governor.js';
import type { ModelSettings } from '../model-options.js';
import { addBatchSizes, type BatchSizes } from '../observe/counts.js';
import type { PoolSettings } from '../pool-options.js';
import type { PooledWorker, StartWorker } from '../pooled-worker.js';
import type { SpareHosts } from '../spare-hosts.js';
import { decideScaling } from './scaling.js';
import {
  blockedLimitMs,
  hasFaulted,
  isPlainEnd,
  type MeasuredTimes,
  StartBackOff,
  unwrapClosed,
  wasKilled,
} from './supervision.js';
import { ASK_MS, WorkerSlot, Workers } from './workers.js';

/** What a fleet works for: the requests of its model. */
export interface FleetOwner {
  /** How many requests wait. */
  readonly queued: number;
  /** Since when any have, without a break. */
  readonly waitingSince: number | undefined;
  /** How long the answers so far took. */
  measured(): Pick<MeasuredTimes, 'answers' | 'p99Ms'>;
  /** A worker has become able to take requests. */
  onRoom(): void;
  /** No worker is there, and the last one could not be loaded. */
  onNoWorkers(error: unknown): void;
  onWorker(type: 'start' | 'ready' | 'evict' | 'end', worker: string): void;
  onLoadFailure(error: unknown, backOffMs: number): void;
  /** A worker crashed that held so many requests whose callers wait. */
  onCrash(worker: string, error: unknown, held: number): void;
}

const EVICTION_MS = 5_000;
/** How long callers of a model that was never ready wait while its workers are killed as they load, in ms. */
const PATIENCE_MS = 20_000;
/** What a worker with a process of its own is taken to cost before anything is known. */
const UNKNOWN_PROCESS_BYTES = 128_000_000;
const MEASURE_EVERY_MS = 10_000;
/** How long a worker may take to tell its process, in ms. */
const MEASURE_MS = 5_000;

/** The workers of a model, as its dispatcher and its reports see them: started as the load asks for, or found. */
export interface ModelFleet {
  readonly workers: Workers;
  /** Starts under way. */
  readonly starting: number;
  readonly starts: number;
  readonly restarts: number;
  readonly crashes: number;
  readonly evictions: number;
  readonly loadFailures: number;
  /** What workers that are gone had told of their batches. */
  readonly retiredBatchSizes: BatchSizes;
  /** In how many ms a worker may be there, 0 unless something failed lately. */
  readonly backOffMs: number;
  /** What that was. */
  readonly lastFailure: unknown;
  /** Why no worker is there, where none can be started. */
  readonly absence: Error | undefined;
  /** How many workers are in which state. */
  workersByState(): Partial<Record<WorkerState, number>>;
  /** Something waits after nothing did. */
  check(): void;
  /** Resolves once so many workers can take requests, as far as there may be so many. */
  warm(target: number): Promise<void>;
  /** Evicts every idle worker, and answers how many once they are gone. */
  evictIdle(): Promise<number>;
  /** A worker has let go of a request. */
  released(slot: WorkerSlot): void;
  /** A worker is over, or on its way, without having been asked to end. */
  lost(slot: WorkerSlot, error: unknown): void;
  /** Asks every worker how it is. */
  look(): Promise<void>;
  /** Closes every worker; resolves once all are gone. */
  close(timeoutMs: number): Promise<void>;
  /** Ends every worker now; resolves once all are gone. */
  destroy(reason: unknown): Promise<void>;
}

export class Fleet implements ModelFleet, MemoryReclaimer {
  readonly owner: string;
  readonly workers: Workers;
  readonly absence = undefined;
  /** Starts under way. */
  starting = 0;
  starts = 0;
  restarts = 0;
  crashes = 0;
  evictions = 0;
  loadFailures = 0;
  /** What workers that are gone had told of their batches. */
  retiredBatchSizes: BatchSizes = {};
  readonly #model: FleetOwner;
  readonly #settings: ModelSettings;
  readonly #pool: PoolSettings;
  readonly #startWorker: StartWorker;
  readonly #spares: SpareHosts | undefined;
  readonly #clock: Clock;
  readonly #backOff: StartBackOff;
  readonly #reclaimer: Disposable;
  readonly #underWay = new Set<Promise<void>>();
  // Crashed and not replaced yet, the first one first.
  readonly #missing: WorkerSlot[] = [];
  #timer: ClockTimer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #lastGrowthAt = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown;
  #wasReady = false;
  #longestLoadMs: number | undefined;
  /** Since when workers have been killed while they loaded, and none was ready. */
  #killedSince: number | undefined;
  #learntBytes: number | undefined;
  #measuredAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(
    model: FleetOwner,
    settings: ModelSettings,
    pool: PoolSettings,
    startWorker: StartWorker,
    spares: SpareHosts | undefined,
  ) {
    this.owner = `${pool.name}/${settings.key}`;
    this.workers = new Workers(settings.routing);
    this.#model = model;
    this.#settings = settings;
    this.#pool = pool;
    this.#startWorker = startWorker;
    this.#spares = spares;
    this.#clock = pool.clock;
    this.#backOff = new StartBackOff(pool.clock, settings.backOffMs, settings.restartsPerMinute);
    this.#reclaimer = pool.governor.addReclaimer(this);
  }

  /** In how many ms a worker may be started, 0 unless a load failed or a worker crashed lately. */
  get backOffMs(): number {
    return this.#backOff.remainingMs;
  }

  /** The last failed load or crash, while a back-off lasts. */
  get lastFailure(): unknown {
    return this.#backOff.remainingMs > 0 ? this.#lastFailure : undefined;
  }

  /** How many workers are in which state; a start that waits for memory counts as spawning. */
  workersByState(): Partial<Record<WorkerState, number>> {
    const counts = this.workers.countByState();
    const waitingForMemory = this.starting - this.workers.inState('starting').length;
    if (waitingForMemory > 0) counts.spawning = (counts.spawning ?? 0) + waitingForMemory;
    return counts;
  }

  // --- how many workers

  /** Does now what the scaling decision asks for, and sees to it that it is asked again in time. */
  check(): void {
    if (this.#isClosed) return;
    this.#stopTimer();
    const decision = decideScaling(this.#settings, {
      now: this.#clock.now(),
      queued: this.#model.queued,
      starting: this.starting,
      missing: this.#missing.length,
      workers: this.workers.inState('accepting'),
      saturatedSince: this.#model.waitingSince,
      lastGrowthAt: this.#lastGrowthAt,
      notBefore: this.#backOff.notBefore,
    });
    for (let count = 0; count < decision.start; count += 1) this.#start().catch(() => {});
    for (const slot of decision.evict) if (slot.state === 'accepting') void this.#evict(slot);
    if (decision.recheckAt !== undefined) this.#checkAt(decision.recheckAt);
  }

  /** Starts workers up to a number, and resolves once that many can take requests. */
  async warm(target: number): Promise<void> {
    for (let retries = this.#settings.restartsPerMinute; ; retries -= 1) {
      const missing = Math.min(target, this.#settings.maxWorkers) - this.workers.accepting - this.starting;
      const starts = [...this.#underWay];
      for (let count = 0; count < missing; count += 1) starts.push(this.#start());
      const results = await Promise.allSettled(starts);
      const failed = results.find((result) => result.status === 'rejected');
      if (failed === undefined) return;
      if (this.#isClosed || retries === 0 || !wasKilled(failed.reason)) throw failed.reason;
    }
  }

  /** To be called when a worker has let go of a request. */
  released(slot: WorkerSlot): void {
    // Its first answer shows that starts go well: one that waits for the end of a back-off may be started now.
    if (slot.served === 1) {
      this.#backOff.proved();
      if (this.#missing.length > 0) this.check();
    }
    if (slot.pending > 0 || slot.state !== 'accepting') return;
    // One timer serves all idle workers: it is late for none, and looks again when it came too early.
    const { idleTimeoutMs, minWorkers } = this.#settings;
    if (this.workers.size > minWorkers) this.#checkAt((slot.idleSince as number) + idleTimeoutMs);
    this.#pool.governor.idleChanged();
    this.#measure(slot, false);
  }

  /** Evicts every idle worker, `minWorkers` included, and answers how many once they are gone. */
  async evictIdle(): Promise<number> {
    const idle = this.workers.inState('accepting').filter((slot) => slot.pending === 0);
    await Promise.all(idle.map((slot) => this.#evict(slot)));
    return idle.length;
  }

  idleSince(): number | undefined {
    if (this.workers.accepting + this.starting <= this.#settings.minWorkers) return undefined;
    return this.workers.leastRecentlyUsed()?.idleSince;
  }

  reclaim(): void {
    const slot = this.workers.leastRecentlyUsed();
    if (slot !== undefined) void this.#evict(slot);
  }

  reclaimingBytes(): number {
    return this.workers.leavingBytes;
  }

  #checkAt(due: number): void {
    if (this.#isClosed || due >= this.#timerDue) return;
    this.#stopTimer();
    this.#timerDue = due;
    this.#timer = inNeutralContext(() => this.#clock.setTimer(() => this.check(), due - this.#clock.now()));
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerDue = Number.POSITIVE_INFINITY;
  }

  // --- a worker's start

  /** Starts a worker: memory first, then a process or a thread, then the load. Resolves once it can take requests. */
  #start(): Promise<void> {
    this.starting += 1;
    const start = inNeutralContext(() => this.#startOne()).finally(() => this.#underWay.delete(start));
    this.#underWay.add(start);
    return start;
  }

  async #startOne(): Promise<void> {
    const { costBytes, host, memoryWaitMs, worker } = this.#settings;
    const { governor } = this.#pool;
    const bytes = this.#learntBytes ?? costBytes ?? (host === 'process' ? UNKNOWN_PROCESS_BYTES : 0);
    let guard: MemoryGuard | undefined;
    let slot: WorkerSlot | undefined;
    // Before memory is asked for: what a spare holds is part of what its worker will cost.
    const spare = host === 'process' ? this.#spares?.take(worker) : undefined;
    try {
      guard = governor.tryAcquire(this.owner, bytes) ?? (await governor.acquire(this.owner, bytes, memoryWaitMs, this));
      if (this.#isClosed) throw new Error('closed while it waited for memory');
      slot = new WorkerSlot(this.#spawnWorker(spare), guard, this.#settings, this.#clock);
      this.#spawned(slot);
      await slot.worker.state.waitFor(['ready', 'processing', 'idle']);
    } catch (error) {
      this.starting -= 1;
      if (slot === undefined) {
        guard?.[Symbol.dispose]();
        spare?.[Symbol.dispose]();
      }
      throw this.#startFailed(slot, error);
    }
    this.starting -= 1;
    this.#becomeReady(slot);
  }

  #spawnWorker(spare: SpareHost | undefined): PooledWorker {
    const { isBlockedMeasured, maxBatch } = this.#settings;
    const blockedTimeoutMs = (): number =>
      blockedLimitMs({ ...this.#model.measured(), loadMs: this.#longestLoadMs, maxBatch });
    const worker = this.#startWorker({
      ...(isBlockedMeasured ? { blockedTimeoutMs } : {}),
      ...(spare === undefined ? {} : { spare }),
    });
    // What stands in for a worker may have had no use for it.
    spare?.[Symbol.dispose]();
    return worker;
  }

  #spawned(slot: WorkerSlot): void {
    this.workers.add(slot);
    this.starts += 1;
    const crashed = this.#missing.shift();
    if (crashed !== undefined) {
      slot.replaces(crashed);
      this.restarts += 1;
    }
    this.#model.onWorker('start', slot.id);
  }

  #becomeReady(slot: WorkerSlot): void {
    if (slot.state !== 'starting') return;
    const now = this.#clock.now();
    slot.become('accepting');
    slot.idleSince = now;
    this.#wasReady = true;
    this.#killedSince = undefined;
    this.#longestLoadMs = Math.max(this.#longestLoadMs ?? 0, now - slot.spawnedAt);
    this.#lastGrowthAt = now;
    this.#backOff.loaded();
    this.#model.onWorker('ready', slot.id);
    slot.worker.state.waitFor(['evicting', 'failed', 'dead']).then(
      (status) => this.lost(slot, status.cause),
      (error: unknown) => this.lost(slot, unwrapClosed(error)),
    );
    this.#measure(slot, true);
    this.#model.onRoom();
    this.check();
    if (slot.pending === 0) this.#pool.governor.idleChanged();
  }

  /** Answers what the start fails with. */
  #startFailed(slot: WorkerSlot | undefined, error: unknown): unknown {
    // One that is leaving gives its memory back when it is gone.
    if (slot?.state === 'starting') {
      this.#remove(slot);
      void slot.worker.destroy(error).catch(() => {});
    }
    // The handle says that it is over; its cause is why.
    const cause = unwrapClosed(error);
    if (this.#isClosed) return cause;
    const isKilled = slot !== undefined && wasKilled(cause);
    if (isKilled) {
      this.#crashed(slot, cause, 0);
      this.#killedSince ??= this.#clock.now();
      const isPatient = this.#clock.now() - this.#killedSince < PATIENCE_MS && !hasFaulted(cause);
      const isSpent = this.#backOff.diedYoung() && !isPatient;
      // A signal says nothing of the model, as long as it has been loaded before or may be the next time.
      if (!isSpent || this.#wasReady || this.workers.accepting + this.starting > 0) {
        this.check();
        return cause;
      }
    }
    this.loadFailures += 1;
    this.#lastFailure = cause;
    const backOffMs = isKilled ? this.#backOff.remainingMs : this.#backOff.loadFailed();
    this.#model.onLoadFailure(cause, backOffMs);
    if (this.workers.accepting === 0 && this.starting === 0) this.#model.onNoWorkers(cause);
    this.check();
    return cause;
  }

  /** Measures a worker and corrects what it is charged: now, or if none was measured for a while. */
  #measure(slot: WorkerSlot, now: boolean): void {
    if (this.#settings.host !== 'process') return;
    const at = this.#clock.now();
    if (!now && at - this.#measuredAt < MEASURE_EVERY_MS) return;
    this.#measuredAt = at;
    void this.#weigh(slot, MEASURE_MS);
  }

  async #weigh(slot: WorkerSlot, timeoutMs: number): Promise<void> {
    const bytes = await slot.residentBytes(timeoutMs);
    if (bytes === undefined || slot.state === 'gone') return;
    slot.measuredBytes = bytes;
    slot.guard.correct(bytes);
    this.#learntBytes = Math.max(...[...this.workers].map((each) => each.measuredBytes ?? 0));
  }

  /** Asks every worker how it is, and measures those with a process of their own. One that does not answer in time stays as it was last known. */
  async look(): Promise<void> {
    const isProcess = this.#settings.host === 'process';
    const each = async (slot: WorkerSlot): Promise<void> => {
      await slot.ask();
      if (isProcess) await this.#weigh(slot, ASK_MS);
    };
    await Promise.all(this.workers.inState('accepting').map(each));
  }

  // --- a worker's end

  /** A worker is over, or on its way, without having been asked to end. Also told by the requests that it held, which may hear of it first. */
  lost(slot: WorkerSlot, error: unknown): void {
    if (slot.state !== 'accepting') return;
    // After work well done it has retired, and needs no back-off.
    if (slot.served > 0 && isPlainEnd(error)) {
      if (slot.worker.state.current === 'evicting') {
        void this.#leave(slot, () => slot.worker.close({ timeoutMs: EVICTION_MS })).then(() => this.check());
      } else this.#remove(slot);
      this.check();
      return;
    }
    slot.crashedWith = slot.pending;
    const held = slot.pending - slot.abandoned;
    this.#remove(slot);
    this.#crashed(slot, error, held);
    // Later: the worker is about to tell the other requests that it held.
    queueMicrotask(() => void slot.worker.destroy(error).catch(() => {}));
    if (slot.served === 0) this.#backOff.diedYoung();
    this.check();
  }

  #crashed(slot: WorkerSlot, error: unknown, held: number): void {
    this.crashes += 1;
    slot.lastError = error;
    this.#missing.push(slot);
    this.#lastFailure = error;
    this.#model.onCrash(slot.id, error, held);
  }

  #evict(slot: WorkerSlot): Promise<void> {
    this.evictions += 1;
    // There are too many as it is.
    this.#missing.length = 0;
    this.#model.onWorker('evict', slot.id);
    return this.#leave(slot, () => slot.worker.close({ timeoutMs: EVICTION_MS }));
  }

  async #leave(slot: WorkerSlot, end: () => Promise<void>): Promise<void> {
    if (slot.state !== 'leaving') slot.become('leaving');
    if (this.#model.waitingSince !== undefined) this.check();
    try {
      await end();
    } catch (error) {
      await slot.worker.destroy(error).catch(() => {});
    }
    this.#remove(slot);
  }

  #remove(slot: WorkerSlot): void {
    if (!this.workers.remove(slot)) return;
    this.retiredBatchSizes = addBatchSizes(this.retiredBatchSizes, slot.batchSizes);
    slot.become('gone');
    slot.guard[Symbol.dispose]();
    this.#spares?.refill();
    this.#model.onWorker('end', slot.id);
  }

  // --- the end of all

  /** Closes every worker; resolves once all are gone. A run that no caller waits for is cut off at the timeout. */
  async close(timeoutMs: number): Promise<void> {
    await this.#end((slot) => this.#closeWorker(slot, timeoutMs));
  }

  /** Ends every worker now; resolves once all are gone. */
  async destroy(reason: unknown): Promise<void> {
    await this.#end((slot) => slot.worker.destroy(reason));
  }

  async #closeWorker(slot: WorkerSlot, timeoutMs: number): Promise<void> {
    const closing = slot.worker.close({ timeoutMs });
    if (slot.pending === 0) return closing;
    const reason = new Error(`not done within ${timeoutMs} ms`);
    const destroy = (): void => void slot.worker.destroy(reason).catch(() => {});
    const timer = this.#clock.setTimer(destroy, timeoutMs, { ref: true });
    try {
      await closing;
    } finally {
      timer.cancel();
    }
  }

  async #end(endWorker: (slot: WorkerSlot) => Promise<void>): Promise<void> {
    this.#isClosed = true;
    this.#stopTimer();
    this.#pool.governor.forgo(this);
    await Promise.all([...this.workers].map((slot) => this.#leave(slot, () => endWorker(slot))));
    this.#reclaimer[Symbol.dispose]();
  }
}
