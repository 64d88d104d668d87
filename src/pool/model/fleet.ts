/**
 * The workers of one model: starts them, watches them, evicts them.
 *
 * Invariants: a slot's memory guard is disposed of once, when its worker is gone; `starting` counts starts under way, those that wait for memory
 * included; at most one timer runs, for the next moment at which time alone changes the scaling decision. Everything here is synchronous save the
 * waiting for a worker, and nothing holds a lock, so registration, maintenance and shutdown cannot wait for each other.
 */
import type { Clock, ClockTimer } from '../../core/index.js';
import type { SpareHost, WorkerState } from '../../worker/index.js';
import type { MemoryGuard, MemoryReclaimer } from '../memory/governor.js';
import { addBatchSizes, type BatchSizes } from '../observe/batch-sizes.js';
import type { ModelSettings, PoolSettings, SpawnPooledWorker } from '../options.js';
import type { Priority } from '../priority.js';
import { decideScaling } from '../scaling.js';
import type { SpareHosts } from '../spare-hosts.js';
import { StartBackOff } from './back-off.js';
import { measureWorker } from './measure.js';
import { WorkerSlot } from './worker-slot.js';

/** What a fleet tells the rest of its model. */
export interface FleetListener {
  /** How many requests wait. */
  queued(): number;
  /** A worker has become able to take requests. */
  onRoom(): void;
  /** No worker is there and none is coming. */
  onNoWorkers(error: unknown): void;
  onEvent(type: 'start' | 'ready' | 'evict' | 'end', worker: string): void;
  onLoadFailure(error: unknown, backOffMs: number): void;
  onCrash(worker: string, error: unknown): void;
}

const EVICTION_MS = 5_000;
/** What a worker with a process of its own is taken to cost before anything is known. */
const UNKNOWN_PROCESS_BYTES = 128_000_000;
const MEASURE_EVERY_MS = 10_000;

export class Fleet implements MemoryReclaimer {
  readonly owner: string;
  readonly slots: WorkerSlot[] = [];
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
  readonly #spawn: SpawnPooledWorker;
  readonly #listener: FleetListener;
  readonly #spares: SpareHosts | undefined;
  readonly #backOff: StartBackOff;
  readonly #reclaimer: Disposable;
  readonly #room: WorkerSlot[] = [];
  #starting = 0;
  #saturatedSince: number | undefined;
  #lastGrowthAt = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown;
  #learntBytes: number | undefined;
  #measuredAt = Number.NEGATIVE_INFINITY;
  #timer: ClockTimer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  // Set by close and destroy: nothing is started any more, and starts under way are given up.
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
    this.#spawn = spawn;
    this.#listener = listener;
    this.#spares = spares;
    this.#backOff = new StartBackOff(pool.clock, settings.backOffMs, settings.restartsPerMinute);
    this.#reclaimer = pool.governor.addReclaimer(this);
  }

  get starting(): number {
    return this.#starting;
  }

  /** Workers that can take requests, with room or without. */
  get accepting(): number {
    let count = 0;
    for (const slot of this.slots) if (slot.state === 'accepting') count += 1;
    return count;
  }

  /** Places for requests in the workers that can take them, taken or free. */
  get places(): number {
    let places = 0;
    for (const slot of this.slots) if (slot.state === 'accepting') places += slot.window;
    return places;
  }

  /** In how many ms a worker may be started, 0 unless a load failed or a worker crashed lately. */
  get backOffMs(): number {
    return this.#backOff.remainingMs;
  }

  /** The last failed load or crash, while a back-off lasts. */
  get lastFailure(): unknown {
    return this.#backOff.remainingMs > 0 ? this.#lastFailure : undefined;
  }

  /** What the next worker is taken to cost, in bytes. */
  get costBytes(): number {
    return (
      this.#learntBytes ?? this.#settings.memoryBytes ?? (this.#settings.host === 'process' ? UNKNOWN_PROCESS_BYTES : 0)
    );
  }

  /** The worker that gets the next request, of that class, if any has room for it. */
  pick(priority: Priority): WorkerSlot | undefined {
    const room = this.#room;
    room.length = 0;
    for (const slot of this.slots) if (slot.hasRoom(priority)) room.push(slot);
    if (room.length <= 1) return room[0];
    return this.#settings.routing(room) as WorkerSlot;
  }

  /** To be called when requests wait and no worker has room for them. */
  saturated(): void {
    // From here on only a timer, a start or an end changes the decision, and each asks for it anew.
    if (this.#saturatedSince !== undefined) return;
    this.#saturatedSince = this.#clock.now();
    this.check();
  }

  /** To be called when nothing waits any more. */
  relieved(): void {
    this.#saturatedSince = undefined;
  }

  /** To be called when a worker has answered something. */
  answered(slot: WorkerSlot): void {
    if (slot.pending > 0 || slot.state !== 'accepting') return;
    const { idleTimeoutMs, cooldownMs } = this.#settings;
    // One timer serves all idle workers: it is late for none, and looks again when it came too early.
    if (this.slots.length > this.#settings.minWorkers && this.#timer === undefined) {
      this.#wakeAt(this.#clock.now() + idleTimeoutMs + cooldownMs);
    }
    this.#pool.governor.idleChanged();
    this.#measure(slot);
  }

  /** Does now what the scaling decision asks for, and sees to it that it is asked again in time. */
  check(): void {
    if (this.#isClosed) return;
    this.#stopTimer();
    const decision = decideScaling(this.#settings, {
      now: this.#clock.now(),
      queued: this.#listener.queued(),
      starting: this.#starting,
      workers: this.slots.filter((slot) => slot.state === 'accepting'),
      saturatedSince: this.#saturatedSince,
      lastGrowthAt: this.#lastGrowthAt,
      notBefore: this.#backOff.notBefore,
    });
    for (let count = 0; count < decision.start; count += 1) this.#start().catch(() => {});
    for (const id of decision.evict) {
      const slot = this.slots.find((each) => each.id === id);
      if (slot !== undefined) this.#evict(slot);
    }
    if (decision.recheckAt !== undefined) this.#wakeAt(decision.recheckAt);
  }

  /** Starts workers up to a number, and resolves once that many can take requests. */
  async warm(target: number): Promise<void> {
    const missing = Math.min(target, this.#settings.maxWorkers) - this.accepting - this.#starting;
    const starts: Promise<void>[] = [...this.#startsUnderWay];
    for (let count = 0; count < missing; count += 1) starts.push(this.#start());
    const results = await Promise.allSettled(starts);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Evicts every idle worker, down to `minWorkers` unless `all`, and answers how many once they are gone. */
  async evictIdle(all: boolean): Promise<number> {
    const idle = this.slots.filter((slot) => slot.state === 'accepting' && slot.pending === 0);
    const spare = all ? idle.length : Math.max(0, this.accepting + this.#starting - this.#settings.minWorkers);
    const evicted = idle.sort((a, b) => (a.idleSince ?? 0) - (b.idleSince ?? 0)).slice(0, spare);
    await Promise.all(evicted.map((slot) => this.#evict(slot)));
    return evicted.length;
  }

  idleSince(): number | undefined {
    if (this.accepting + this.#starting <= this.#settings.minWorkers) return undefined;
    return this.#leastRecentlyUsed()?.idleSince;
  }

  reclaim(): void {
    const slot = this.#leastRecentlyUsed();
    if (slot !== undefined) this.#evict(slot);
  }

  reclaimingBytes(): number {
    let bytes = 0;
    for (const slot of this.slots) if (slot.state === 'leaving') bytes += slot.guard.bytes;
    return bytes;
  }

  /** Closes every worker; resolves once all are gone. What a model still does for nobody at the timeout is cut off. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true;
    this.#stopTimer();
    await Promise.all(this.slots.map((slot) => this.#leave(slot, () => this.#closeWorker(slot, timeoutMs))));
    this.#reclaimer[Symbol.dispose]();
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
    this.#isClosed = true;
    this.#stopTimer();
    await Promise.all(this.slots.map((slot) => this.#leave(slot, () => slot.handle.destroy(reason))));
    this.#reclaimer[Symbol.dispose]();
  }

  /** How many workers are in which state. */
  workersByState(): Partial<Record<WorkerState, number>> {
    const counts: Partial<Record<WorkerState, number>> = {};
    const waitingForMemory = this.#starting - this.slots.filter((slot) => slot.state === 'starting').length;
    if (waitingForMemory > 0) counts.spawning = waitingForMemory;
    for (const slot of this.slots) {
      const { current } = slot.handle.state;
      counts[current] = (counts[current] ?? 0) + 1;
    }
    return counts;
  }

  get heldBytes(): number {
    let bytes = 0;
    for (const slot of this.slots) bytes += slot.guard.bytes;
    return bytes;
  }

  readonly #startsUnderWay = new Set<Promise<void>>();

  #start(): Promise<void> {
    this.#starting += 1;
    const start = this.#startOne().finally(() => this.#startsUnderWay.delete(start));
    this.#startsUnderWay.add(start);
    return start;
  }

  async #startOne(): Promise<void> {
    const { governor } = this.#pool;
    let guard: MemoryGuard | undefined;
    let slot: WorkerSlot | undefined;
    // Before memory is asked for: what a spare holds is part of what its worker will cost.
    const spare = this.#settings.host === 'process' ? this.#spares?.take(this.#settings.worker) : undefined;
    try {
      const bytes = this.costBytes;
      guard =
        governor.tryAcquire(this.owner, bytes) ??
        (await governor.acquire(this.owner, bytes, this.#settings.memoryWaitMs, this));
      if (this.#isClosed) throw new Error('closed while it waited for memory');
      slot = new WorkerSlot(this.#spawnWorker(spare), guard, this.#settings, this.#clock);
      this.slots.push(slot);
      this.starts += 1;
      if (this.#missing > 0) {
        this.#missing -= 1;
        this.restarts += 1;
      }
      this.#listener.onEvent('start', slot.id);
      await slot.handle.state.waitFor(['ready', 'processing', 'idle']);
    } catch (error) {
      this.#starting -= 1;
      if (slot !== undefined) {
        this.#remove(slot);
        void slot.handle.destroy(error).catch(() => {});
      } else {
        guard?.[Symbol.dispose]();
        spare?.[Symbol.dispose]();
      }
      throw this.#startFailed(error);
    }
    this.#starting -= 1;
    this.#becomeReady(slot);
  }

  #spawnWorker(spare: SpareHost | undefined): WorkerSlot['handle'] {
    const { start } = this.#settings;
    const handle = this.#spawn(spare === undefined ? start : { ...start, spare });
    // Whoever replaced `spawn` may not have had a use for it.
    spare?.[Symbol.dispose]();
    return handle;
  }

  #becomeReady(slot: WorkerSlot): void {
    if (slot.state !== 'starting') return;
    slot.state = 'accepting';
    slot.idleSince = this.#clock.now();
    this.#lastGrowthAt = this.#clock.now();
    this.#saturatedSince = undefined;
    this.#backOff.loaded();
    this.#listener.onEvent('ready', slot.id);
    this.#watchEnd(slot);
    this.#measure(slot, true);
    this.#listener.onRoom();
    this.check();
    if (slot.pending === 0) this.#pool.governor.idleChanged();
  }

  #startFailed(error: unknown): unknown {
    // The handle says that it is over; its cause is why.
    const cause = unwrapClosed(error);
    if (this.#isClosed) return cause;
    this.loadFailures += 1;
    this.#lastFailure = cause;
    const backOffMs = this.#backOff.loadFailed();
    this.#listener.onLoadFailure(cause, backOffMs);
    if (this.accepting === 0 && this.#starting === 0) this.#listener.onNoWorkers(cause);
    this.check();
    return cause;
  }

  #watchEnd(slot: WorkerSlot): void {
    slot.handle.state.waitFor(['evicting', 'failed', 'dead']).then(
      (status) => this.#ended(slot, status.cause),
      (error: unknown) => this.#ended(slot, unwrapClosed(error)),
    );
  }

  /** A worker is over, or on its way, without having been asked to end. Also told by the calls that it took along, who may hear of it first. */
  lost(slot: WorkerSlot, error: unknown): void {
    this.#ended(slot, error);
  }

  #ended(slot: WorkerSlot, error: unknown): void {
    if (slot.state !== 'accepting') return;
    // Its loop has returned and nothing failed: it has retired, after work well done, and needs no back-off.
    if (slot.served > 0 && (error === undefined || isPlainEnd(error))) {
      this.#retire(slot);
      return;
    }
    this.#remove(slot);
    this.crashes += 1;
    this.#missing += 1;
    this.#lastFailure = error;
    this.#listener.onCrash(slot.id, error);
    void slot.handle.destroy(error).catch(() => {});
    const isWithinBudget = this.#backOff.crashed();
    if (!isWithinBudget && this.accepting === 0 && this.#starting === 0) this.#listener.onNoWorkers(error);
    this.check();
  }

  #retire(slot: WorkerSlot): void {
    if (slot.handle.state.current === 'evicting') {
      void this.#leave(slot, () => slot.handle.close({ timeoutMs: EVICTION_MS })).then(() => this.check());
    } else {
      this.#remove(slot);
    }
    this.check();
  }

  #leastRecentlyUsed(): WorkerSlot | undefined {
    let oldest: WorkerSlot | undefined;
    for (const slot of this.slots) {
      if (slot.state !== 'accepting' || slot.pending > 0 || slot.idleSince === undefined) continue;
      if (oldest === undefined || slot.idleSince < (oldest.idleSince as number)) oldest = slot;
    }
    return oldest;
  }

  #evict(slot: WorkerSlot): Promise<void> {
    this.evictions += 1;
    this.#listener.onEvent('evict', slot.id);
    return this.#leave(slot, () => slot.handle.close({ timeoutMs: EVICTION_MS }));
  }

  async #leave(slot: WorkerSlot, end: () => Promise<void>): Promise<void> {
    slot.state = 'leaving';
    try {
      await end();
    } catch (error) {
      await slot.handle.destroy(error).catch(() => {});
    }
    this.#remove(slot);
  }

  #remove(slot: WorkerSlot): void {
    const index = this.slots.indexOf(slot);
    if (index < 0) return;
    this.slots.splice(index, 1);
    this.retiredBatchSizes = addBatchSizes(this.retiredBatchSizes, slot.batchSizes);
    slot.state = 'gone';
    slot.guard[Symbol.dispose]();
    this.#spares?.refill();
    this.#listener.onEvent('end', slot.id);
  }

  #measure(slot: WorkerSlot, now = false): void {
    if (this.#settings.host !== 'process') return;
    const at = this.#clock.now();
    if (!now && at - this.#measuredAt < MEASURE_EVERY_MS) return;
    this.#measuredAt = at;
    void measureWorker(slot.handle).then((bytes) => {
      if (bytes === undefined || slot.state === 'gone') return;
      slot.measuredBytes = bytes;
      slot.guard.correct(bytes);
      this.#learntBytes = Math.max(...this.slots.map((each) => each.measuredBytes ?? 0));
    });
  }

  #wakeAt(due: number): void {
    if (this.#isClosed || due === Number.POSITIVE_INFINITY || this.#timerDue <= due) return;
    this.#stopTimer();
    this.#timerDue = due;
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = undefined;
      this.#timerDue = Number.POSITIVE_INFINITY;
      this.check();
    }, due - this.#clock.now());
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerDue = Number.POSITIVE_INFINITY;
  }
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
