import type { Clock } from '../../core/index.js';
import { residentBytes } from '../memory/resident.js';
import type { ModelSettings } from '../model-settings.js';
import type { PooledWorker } from '../pooled-worker.js';
import type { WorkerSlot } from './worker-slot.js';
import type { WorkerSlots } from './worker-slots.js';

/** What a worker with a process of its own is taken to cost before anything is known. */
const UNKNOWN_PROCESS_BYTES = 128_000_000;
const MEASURE_EVERY_MS = 10_000;

/** What the workers of a model cost: declared, then learnt from what those that live occupy. */
export class WorkerCosts {
  readonly #settings: ModelSettings;
  readonly #clock: Clock;
  readonly #slots: WorkerSlots;
  #learntBytes: number | undefined;
  #measuredAt = Number.NEGATIVE_INFINITY;

  constructor(settings: ModelSettings, clock: Clock, slots: WorkerSlots) {
    this.#settings = settings;
    this.#clock = clock;
    this.#slots = slots;
  }

  /** What the next worker is taken to cost, in bytes. */
  get bytes(): number {
    const { memoryBytes, host } = this.#settings;
    return this.#learntBytes ?? memoryBytes ?? (host === 'process' ? UNKNOWN_PROCESS_BYTES : 0);
  }

  /** Measures a worker and corrects what it is charged: now, or if none was measured for a while. */
  measure(slot: WorkerSlot, now: boolean): void {
    if (this.#settings.host !== 'process') return;
    const at = this.#clock.now();
    if (!now && at - this.#measuredAt < MEASURE_EVERY_MS) return;
    this.#measuredAt = at;
    void occupiedBytes(slot.handle).then((bytes) => {
      if (bytes === undefined || slot.state === 'gone') return;
      slot.measuredBytes = bytes;
      slot.guard.correct(bytes);
      this.#learntBytes = Math.max(...this.#slots.toArray().map((each) => each.measuredBytes ?? 0));
    });
  }
}

// Its proportional share where the system tells it, else its resident memory; undefined while neither is known.
async function occupiedBytes(worker: PooledWorker): Promise<number | undefined> {
  try {
    const { pid, rss } = await worker.ping();
    return (await residentBytes(pid)) ?? (rss > 0 ? rss : undefined);
  } catch {
    // On its way out: the next time will do.
    return undefined;
  }
}
