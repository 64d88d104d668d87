/**
 * The workers of one model where they are found, and not started: those of other machines. They come and go as they please.
 *
 * Invariants:
 * - A worker is in `workers` from when the source tells of it until it is over. One that is leaving stays until it has let go of all requests.
 * - A worker that is lost is no fault of the model's or of a request: nothing counts for the breaker, and nothing has to run alone.
 */
import type { Clock } from '../../core/index.js';
import type { WorkerState } from '../../worker/index.js';
import { isLive } from '../../worker/internal.js';
import { closedError } from '../errors.js';
import type { MemoryGuard } from '../memory-governor.js';
import type { ModelSettings } from '../model-options.js';
import { addBatchSizes, type BatchSizes } from '../observe/counts.js';
import type { PoolSettings } from '../pool-options.js';
import type { PooledWorker, WorkerFinder, WorkerSource } from '../pooled-worker.js';
import type { FleetOwner, ModelFleet } from './fleet.js';
import { isPlainEnd, unwrapClosed } from './supervision.js';
import { WorkerSlot, Workers } from './workers.js';

/** Memory of another machine is not governed here. */
const NO_MEMORY: MemoryGuard = { owner: '', bytes: 0, correct: () => {}, [Symbol.dispose]: () => {} };
/** When a call that found no worker has a fair chance, in ms. */
const LOOK_AGAIN_MS = 1_000;

export class FoundFleet implements ModelFleet, WorkerFinder {
  readonly workers: Workers;
  readonly starting = 0;
  starts = 0;
  readonly restarts = 0;
  crashes = 0;
  readonly evictions = 0;
  readonly loadFailures = 0;
  retiredBatchSizes: BatchSizes = {};
  readonly #model: FleetOwner;
  readonly #settings: ModelSettings;
  readonly #clock: Clock;
  readonly #source: WorkerSource;
  readonly #onFound: { readonly target: number; resolve(): void; reject(error: unknown): void }[] = [];
  #isClosed = false;

  constructor(model: FleetOwner, settings: ModelSettings, pool: PoolSettings, source: WorkerSource) {
    this.#model = model;
    this.#settings = settings;
    this.#clock = pool.clock;
    this.#source = source;
    this.workers = new Workers(settings.routing);
    source.open(this);
  }

  get waiting(): number {
    return this.#model.queued;
  }

  get absence(): Error | undefined {
    return this.workers.accepting > 0 ? undefined : this.#source.absence;
  }

  get backOffMs(): number {
    return this.absence === undefined ? 0 : LOOK_AGAIN_MS;
  }

  get lastFailure(): unknown {
    return this.absence;
  }

  workersByState(): Partial<Record<WorkerState, number>> {
    return this.workers.countByState();
  }

  check(): void {
    this.#source.noteWaiting(this.#model.queued > 0 && this.workers.accepting === 0);
  }

  // --- what the source tells

  found(worker: PooledWorker): void {
    if (this.#isClosed) {
      void worker.destroy(new Error('the pool is closed')).catch(() => {});
      return;
    }
    const slot = new WorkerSlot(worker, NO_MEMORY, this.#settings, this.#clock);
    this.workers.add(slot);
    this.starts += 1;
    this.#model.onWorker('start', slot.id);
    slot.become('accepting');
    slot.idleSince = this.#clock.now();
    this.#model.onWorker('ready', slot.id);
    worker.state.waitFor(['evicting', 'failed', 'dead']).then(
      (status) => this.lost(slot, status.cause),
      (error: unknown) => this.lost(slot, unwrapClosed(error)),
    );
    for (const each of this.#onFound.splice(0)) {
      if (this.workers.accepting >= each.target) each.resolve();
      else this.#onFound.push(each);
    }
    this.check();
    this.#model.onRoom();
  }

  hasRoom(): void {
    this.#model.onRoom();
  }

  failWaiting(error: unknown): void {
    this.#model.onNoWorkers(error);
  }

  // --- the end of a worker

  lost(slot: WorkerSlot, error: unknown): void {
    // One of its requests may be lost, and it lives.
    if (slot.state !== 'accepting' || isLive(slot.worker.state.current)) return;
    const isLeaving = slot.worker.state.current === 'evicting';
    if (isLeaving) {
      slot.become('leaving');
      if (slot.pending === 0) this.#end(slot);
    } else {
      this.#remove(slot);
      if (!isPlainEnd(error)) {
        this.crashes += 1;
        slot.lastError = error;
        // As if it had held nothing: what the breaker counts is the model's.
        this.#model.onCrash(slot.id, error, 0);
      }
    }
    this.check();
  }

  released(slot: WorkerSlot): void {
    if (slot.state === 'leaving' && slot.pending === 0) this.#end(slot);
  }

  #end(slot: WorkerSlot): void {
    void slot.worker.close({ timeoutMs: 0 }).catch(() => {});
    this.#remove(slot);
  }

  #remove(slot: WorkerSlot): void {
    if (!this.workers.remove(slot)) return;
    this.retiredBatchSizes = addBatchSizes(this.retiredBatchSizes, slot.batchSizes);
    slot.become('gone');
    this.#model.onWorker('end', slot.id);
  }

  // --- what is asked of it

  async warm(target: number): Promise<void> {
    if (this.workers.accepting >= target) return;
    await new Promise<void>((resolve, reject) => this.#onFound.push({ target, resolve, reject }));
  }

  /** Others may need them. */
  async evictIdle(): Promise<number> {
    return 0;
  }

  async look(): Promise<void> {
    await Promise.all(this.workers.inState('accepting').map((slot) => slot.ask()));
  }

  async close(timeoutMs: number): Promise<void> {
    await this.#endAll((slot) => slot.worker.close({ timeoutMs }));
  }

  async destroy(reason: unknown): Promise<void> {
    await this.#endAll((slot) => slot.worker.destroy(reason));
  }

  async #endAll(end: (slot: WorkerSlot) => Promise<void>): Promise<void> {
    this.#isClosed = true;
    const error = closedError(this.#settings.key, undefined, 'the pool is closing');
    for (const each of this.#onFound.splice(0)) each.reject(error);
    await Promise.all(
      [...this.workers].map(async (slot) => {
        if (slot.state === 'accepting') slot.become('leaving');
        await end(slot).catch(() => {});
        this.#remove(slot);
      }),
    );
    await this.#source.close();
  }
}
