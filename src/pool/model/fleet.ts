/**
 * The workers of one model: has them started, watches them, evicts them.
 *
 * Invariants: a slot's memory guard is disposed of once, when its worker is gone; at most one timer runs, for the next moment at which time alone
 * changes the scaling decision. The decision is made anew whenever anything changes that it depends on: something waits after nothing did, a start ends, a
 * worker leaves or is gone, that timer. So while a request waits a worker is there, is coming, or is due. Everything here is synchronous save the waiting for a worker, and nothing holds a lock, so registration, maintenance
 * and shutdown cannot wait for each other.
 */
import type { Clock } from '../../core/index.js';
import type { WorkerCrashedError, WorkerState } from '../../worker/index.js';
import type { MemoryReclaimer } from '../memory/governor.js';
import type { ModelSettings } from '../model-settings.js';
import { addBatchSizes, type BatchSizes } from '../observe/batch-sizes.js';
import type { SpawnPooledWorker } from '../options.js';
import type { PoolSettings } from '../pool-settings.js';
import { decideScaling } from '../scaling.js';
import type { SpareHosts } from '../spare-hosts.js';
import { StartBackOff } from './back-off.js';
import { blockedLimitMs, type MeasuredTimes } from './blocked-limit.js';
import { Starts } from './starts.js';
import { WakeUp } from './wake-up.js';
import { WorkerCosts } from './worker-costs.js';
import type { WorkerSlot } from './worker-slot.js';
import { WorkerSlots } from './worker-slots.js';

/** What a fleet tells the rest of its model. */
export interface FleetListener {
  /** How many requests wait. */
  queued(): number;
  /** Since when any have, without a break. */
  waitingSince(): number | undefined;
  /** How long the answers so far took. */
  measured(): Pick<MeasuredTimes, 'answers' | 'p99Ms'>;
  /** A worker has become able to take requests. */
  onRoom(): void;
  /** No worker is there, and the last one could not be loaded. */
  onNoWorkers(error: unknown): void;
  onEvent(type: 'start' | 'ready' | 'evict' | 'end', worker: string): void;
  onLoadFailure(error: unknown, backOffMs: number): void;
  /** A worker crashed that held so many requests whose callers wait. */
  onCrash(worker: string, error: unknown, held: number): void;
}

const EVICTION_MS = 5_000;
/** How long callers of a model that was never ready wait while its workers are killed as they load, in ms. */
const PATIENCE_MS = 20_000;

export class Fleet implements MemoryReclaimer {
  readonly owner: string;
  readonly slots: WorkerSlots;
  starts = 0;
  restarts = 0;
  crashes = 0;
  // Crashed and not replaced yet.
  #missing = 0;
  evictions = 0;
  loadFailures = 0;
  /** What workers that are gone had told of their batches. */
  retiredBatchSizes: BatchSizes = {};
  readonly #settings: ModelSettings;
  readonly #pool: PoolSettings;
  readonly #clock: Clock;
  readonly #listener: FleetListener;
  readonly #spares: SpareHosts | undefined;
  readonly #backOff: StartBackOff;
  readonly #costs: WorkerCosts;
  readonly #starts: Starts;
  readonly #wakeUp: WakeUp;
  readonly #reclaimer: Disposable;
  #lastGrowthAt = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown;
  #wasReady = false;
  #longestLoadMs: number | undefined;
  /** Since when workers have been killed while they loaded, and none was ready. */
  #killedSince: number | undefined;
  #isClosed = false;

  constructor(
    settings: ModelSettings,
    pool: PoolSettings,
    spawn: SpawnPooledWorker,
    listener: FleetListener,
    spares?: SpareHosts,
  ) {
    this.owner = `${pool.name}/${settings.key}`;
    this.#settings = settings;
    this.#pool = pool;
    this.#clock = pool.clock;
    this.#listener = listener;
    this.#spares = spares;
    this.#backOff = new StartBackOff(pool.clock, settings.backOffMs, settings.restartsPerMinute);
    this.slots = new WorkerSlots(settings.routing);
    this.#costs = new WorkerCosts(settings, pool.clock, this.slots);
    this.#wakeUp = new WakeUp(pool.clock, () => this.check());
    this.#starts = new Starts({
      settings,
      pool,
      spawn,
      spares,
      costs: this.#costs,
      blockedTimeoutMs: () => this.blockedTimeoutMs,
      requester: this,
      onSpawned: (slot) => this.#spawned(slot),
      onReady: (slot) => this.#becomeReady(slot),
      onFailed: (slot, error) => this.#startFailed(slot, error),
    });
    this.#reclaimer = pool.governor.addReclaimer(this);
  }

  /** How long a call may keep a worker's thread past a deadline, where that is measured, in ms. */
  get blockedTimeoutMs(): number {
    const { maxBatch } = this.#settings;
    return blockedLimitMs({ ...this.#listener.measured(), loadMs: this.#longestLoadMs, maxBatch });
  }

  /** Starts under way. */
  get starting(): number {
    return this.#starts.size;
  }

  /** In how many ms a worker may be started, 0 unless a load failed or a worker crashed lately. */
  get backOffMs(): number {
    return this.#backOff.remainingMs;
  }

  /** The last failed load or crash, while a back-off lasts. */
  get lastFailure(): unknown {
    return this.#backOff.remainingMs > 0 ? this.#lastFailure : undefined;
  }

  /** To be called when a worker has answered something. */
  answered(slot: WorkerSlot): void {
    if (!slot.hasProved && slot.served > 0) {
      slot.hasProved = true;
      this.#backOff.proved();
      // One that waits for the end of a back-off may be started now.
      if (this.#missing > 0) this.check();
    }
    if (slot.pending > 0 || slot.state !== 'accepting') return;
    const { idleTimeoutMs, cooldownMs, minWorkers } = this.#settings;
    // One timer serves all idle workers: it is late for none, and looks again when it came too early.
    if (this.slots.size > minWorkers) this.#wakeUp.at((slot.idleSince as number) + idleTimeoutMs + cooldownMs);
    this.#pool.governor.idleChanged();
    this.#costs.measure(slot, false);
  }

  /** Does now what the scaling decision asks for, and sees to it that it is asked again in time. */
  check(): void {
    if (this.#isClosed) return;
    this.#wakeUp.stop();
    const decision = decideScaling(this.#settings, {
      now: this.#clock.now(),
      queued: this.#listener.queued(),
      starting: this.starting,
      missing: this.#missing,
      workers: this.slots.inState('accepting'),
      saturatedSince: this.#listener.waitingSince(),
      lastGrowthAt: this.#lastGrowthAt,
      notBefore: this.#backOff.notBefore,
    });
    for (let count = 0; count < decision.start; count += 1) this.#starts.start().catch(() => {});
    for (const id of decision.evict) {
      const slot = this.slots.find(id);
      if (slot?.state === 'accepting') this.#evict(slot);
    }
    if (decision.recheckAt !== undefined) this.#wakeUp.at(decision.recheckAt);
  }

  /** Starts workers up to a number, and resolves once that many can take requests. */
  async warm(target: number): Promise<void> {
    for (let retries = this.#settings.restartsPerMinute; ; retries -= 1) {
      const missing = Math.min(target, this.#settings.maxWorkers) - this.slots.accepting - this.starting;
      const starts = this.#starts.promises();
      for (let count = 0; count < missing; count += 1) starts.push(this.#starts.start());
      const results = await Promise.allSettled(starts);
      const failed = results.find((result) => result.status === 'rejected');
      if (failed === undefined) return;
      if (this.#isClosed || retries === 0 || !wasKilled(failed.reason)) throw failed.reason;
    }
  }

  /** Evicts every idle worker, down to `minWorkers` unless `all`, and answers how many once they are gone. */
  async evictIdle(all: boolean): Promise<number> {
    const idle = this.slots.inState('accepting').filter((slot) => slot.pending === 0);
    const spare = all ? idle.length : Math.max(0, this.slots.accepting + this.starting - this.#settings.minWorkers);
    const evicted = idle.sort((a, b) => (a.idleSince ?? 0) - (b.idleSince ?? 0)).slice(0, spare);
    await Promise.all(evicted.map((slot) => this.#evict(slot)));
    return evicted.length;
  }

  idleSince(): number | undefined {
    if (this.slots.accepting + this.starting <= this.#settings.minWorkers) return undefined;
    return this.slots.leastRecentlyUsed()?.idleSince;
  }

  reclaim(): void {
    const slot = this.slots.leastRecentlyUsed();
    if (slot !== undefined) this.#evict(slot);
  }

  reclaimingBytes(): number {
    return this.slots.leavingBytes;
  }

  /** Closes every worker; resolves once all are gone. What a model still does for nobody at the timeout is cut off. */
  async close(timeoutMs: number): Promise<void> {
    await this.#end((slot) => this.#closeWorker(slot, timeoutMs));
  }

  async #closeWorker(slot: WorkerSlot, timeoutMs: number): Promise<void> {
    const closing = slot.handle.close({ timeoutMs });
    if (slot.pending === 0) return closing;
    const timer = this.#clock.setTimer(
      () => slot.handle.destroy(new Error(`not done within ${timeoutMs} ms`)).catch(() => {}),
      timeoutMs,
      { ref: true },
    );
    try {
      await closing;
    } finally {
      timer.cancel();
    }
  }

  /** Ends every worker now; resolves once all are gone. */
  async destroy(reason: unknown): Promise<void> {
    await this.#end((slot) => slot.handle.destroy(reason));
  }

  async #end(endWorker: (slot: WorkerSlot) => Promise<void>): Promise<void> {
    this.#isClosed = true;
    this.#wakeUp.close();
    this.#starts.close();
    await Promise.all(this.slots.toArray().map((slot) => this.#leave(slot, () => endWorker(slot))));
    this.#reclaimer[Symbol.dispose]();
  }

  /** How many workers are in which state; a start that waits for memory counts as spawning. */
  workersByState(): Partial<Record<WorkerState, number>> {
    const counts = this.slots.countByState();
    const waitingForMemory = this.starting - this.slots.inState('starting').length;
    if (waitingForMemory > 0) counts.spawning = (counts.spawning ?? 0) + waitingForMemory;
    return counts;
  }

  #spawned(slot: WorkerSlot): void {
    this.slots.add(slot);
    this.starts += 1;
    if (this.#missing > 0) {
      this.#missing -= 1;
      this.restarts += 1;
    }
    this.#listener.onEvent('start', slot.id);
  }

  #becomeReady(slot: WorkerSlot): void {
    if (slot.state !== 'starting') return;
    slot.state = 'accepting';
    this.#wasReady = true;
    this.#killedSince = undefined;
    this.#longestLoadMs = Math.max(this.#longestLoadMs ?? 0, this.#clock.now() - slot.spawnedAt);
    slot.idleSince = this.#clock.now();
    this.#lastGrowthAt = this.#clock.now();
    this.#backOff.loaded();
    this.#listener.onEvent('ready', slot.id);
    this.#watchEnd(slot);
    this.#costs.measure(slot, true);
    this.#listener.onRoom();
    this.check();
    if (slot.pending === 0) this.#pool.governor.idleChanged();
  }

  #startFailed(slot: WorkerSlot | undefined, error: unknown): unknown {
    // One that is leaving gives its memory back when it is gone.
    if (slot?.state === 'starting') {
      this.#remove(slot);
      void slot.handle.destroy(error).catch(() => {});
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
      if (!isSpent || this.#wasReady || this.slots.accepting + this.starting > 0) {
        this.check();
        return cause;
      }
    }
    this.loadFailures += 1;
    this.#lastFailure = cause;
    const backOffMs = isKilled ? this.#backOff.remainingMs : this.#backOff.loadFailed();
    this.#listener.onLoadFailure(cause, backOffMs);
    if (this.slots.accepting === 0 && this.starting === 0) this.#listener.onNoWorkers(cause);
    this.check();
    return cause;
  }

  #watchEnd(slot: WorkerSlot): void {
    slot.handle.state.waitFor(['evicting', 'failed', 'dead']).then(
      (status) => this.lost(slot, status.cause),
      (error: unknown) => this.lost(slot, unwrapClosed(error)),
    );
  }

  /** A worker is over, or on its way, without having been asked to end. Also told by the calls that it took along, who may hear of it first. */
  lost(slot: WorkerSlot, error: unknown): void {
    if (slot.state !== 'accepting') return;
    // Its loop has returned and nothing failed: it has retired, after work well done, and needs no back-off.
    if (slot.served > 0 && (error === undefined || isPlainEnd(error))) {
      this.#retire(slot);
      return;
    }
    slot.crashedWith = slot.pending;
    const held = slot.pending - slot.abandoned;
    this.#remove(slot);
    this.#crashed(slot, error, held);
    void slot.handle.destroy(error).catch(() => {});
    if (slot.served === 0) this.#backOff.diedYoung();
    this.check();
  }

  #crashed(slot: WorkerSlot, error: unknown, held: number): void {
    this.crashes += 1;
    this.#missing += 1;
    this.#lastFailure = error;
    this.#listener.onCrash(slot.id, error, held);
  }

  #retire(slot: WorkerSlot): void {
    if (slot.handle.state.current === 'evicting') {
      void this.#leave(slot, () => slot.handle.close({ timeoutMs: EVICTION_MS })).then(() => this.check());
    } else {
      this.#remove(slot);
    }
    this.check();
  }

  #evict(slot: WorkerSlot): Promise<void> {
    this.evictions += 1;
    // There are too many as it is.
    this.#missing = 0;
    this.#listener.onEvent('evict', slot.id);
    return this.#leave(slot, () => slot.handle.close({ timeoutMs: EVICTION_MS }));
  }

  async #leave(slot: WorkerSlot, end: () => Promise<void>): Promise<void> {
    slot.state = 'leaving';
    if (this.#listener.waitingSince() !== undefined) this.check();
    try {
      await end();
    } catch (error) {
      await slot.handle.destroy(error).catch(() => {});
    }
    this.#remove(slot);
  }

  #remove(slot: WorkerSlot): void {
    if (!this.slots.remove(slot)) return;
    this.retiredBatchSizes = addBatchSizes(this.retiredBatchSizes, slot.batchSizes);
    slot.state = 'gone';
    slot.guard[Symbol.dispose]();
    this.#spares?.refill();
    this.#listener.onEvent('end', slot.id);
  }
}

const OWN_SIGNALS = new Set(['SIGSEGV', 'SIGABRT', 'SIGILL', 'SIGBUS', 'SIGFPE', 'SIGTRAP', 'SIGSYS']);

// Whether a worker that was ended by a signal while it loaded has brought it on itself.
function hasFaulted(error: unknown): boolean {
  return OWN_SIGNALS.has((error as { cause: { signal: string } }).cause.signal);
}

// Whether a worker was ended by a signal while it loaded, and its host knows no reason: from outside, most often.
function wasKilled(error: unknown): boolean {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: WorkerCrashedError };
  return (
    code === 'ERR_WORKER_LOAD' &&
    cause?.code === 'ERR_WORKER_CRASHED' &&
    cause.signal !== null &&
    cause.cause === undefined
  );
}

// A closed handle without a cause.
function isPlainEnd(error: unknown): boolean {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  return code === 'ERR_WORKER_CLOSED' && cause === undefined;
}

function unwrapClosed(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  return code === 'ERR_WORKER_CLOSED' && cause !== undefined ? cause : error;
}
