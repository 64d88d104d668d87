/**
 * The starts of a model's workers: memory first, then a process or a thread, then the load.
 *
 * Invariant: `size` counts the starts under way, those that wait for memory included; each ends in `onReady` or in `onFailed`.
 */
import { inNeutralContext, type SpareHost } from '../../worker/index.js';
import type { MemoryGuard, MemoryReclaimer } from '../memory/governor.js';
import type { ModelSettings } from '../model-settings.js';
import type { SpawnPooledWorker } from '../options.js';
import type { PoolSettings } from '../pool-settings.js';
import type { SpareHosts } from '../spare-hosts.js';
import type { WorkerCosts } from './worker-costs.js';
import { WorkerSlot } from './worker-slot.js';

/** What starts are made of, and whom they tell. */
export interface StartsParts {
  readonly settings: ModelSettings;
  readonly pool: PoolSettings;
  readonly spawn: SpawnPooledWorker;
  readonly spares: SpareHosts | undefined;
  readonly costs: WorkerCosts;
  /** How long a call may keep a worker's thread past a deadline, where that is measured. */
  readonly blockedTimeoutMs: () => number;
  /** For whom memory is asked for. */
  readonly requester: MemoryReclaimer;
  /** A worker is there, and loads. */
  readonly onSpawned: (slot: WorkerSlot) => void;
  readonly onReady: (slot: WorkerSlot) => void;
  /** It came to nothing, with its worker or before there was one. Answers what the start fails with. */
  readonly onFailed: (slot: WorkerSlot | undefined, error: unknown) => unknown;
}

export class Starts {
  readonly #parts: StartsParts;
  readonly #underWay = new Set<Promise<void>>();
  #size = 0;
  #isClosed = false;

  constructor(parts: StartsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#size;
  }

  /** The starts under way. */
  promises(): Promise<void>[] {
    return [...this.#underWay];
  }

  /** Starts a worker; resolves once it can take requests. */
  start(): Promise<void> {
    this.#size += 1;
    const start = inNeutralContext(() => this.#start()).finally(() => this.#underWay.delete(start));
    this.#underWay.add(start);
    return start;
  }

  /** Nothing is started any more, and what waits for memory does not wait any longer. */
  close(): void {
    this.#isClosed = true;
    const { pool, requester } = this.#parts;
    pool.governor.forgo(requester);
  }

  async #start(): Promise<void> {
    const { settings, pool, costs, requester } = this.#parts;
    const { governor } = pool;
    let guard: MemoryGuard | undefined;
    let slot: WorkerSlot | undefined;
    // Before memory is asked for: what a spare holds is part of what its worker will cost.
    const spare = settings.host === 'process' ? this.#parts.spares?.take(settings.worker) : undefined;
    try {
      const { owner } = requester;
      const { bytes } = costs;
      guard =
        governor.tryAcquire(owner, bytes) ?? (await governor.acquire(owner, bytes, settings.memoryWaitMs, requester));
      if (this.#isClosed) throw new Error('closed while it waited for memory');
      slot = new WorkerSlot(this.#spawn(spare), guard, settings, pool.clock);
      this.#parts.onSpawned(slot);
      await slot.handle.state.waitFor(['ready', 'processing', 'idle']);
    } catch (error) {
      this.#size -= 1;
      if (slot === undefined) {
        guard?.[Symbol.dispose]();
        spare?.[Symbol.dispose]();
      }
      throw this.#parts.onFailed(slot, error);
    }
    this.#size -= 1;
    this.#parts.onReady(slot);
  }

  #spawn(spare: SpareHost | undefined): WorkerSlot['handle'] {
    const { settings, spawn, blockedTimeoutMs } = this.#parts;
    const start = settings.isBlockedMeasured ? { ...settings.start, blockedTimeoutMs } : settings.start;
    const handle = spawn(spare === undefined ? start : { ...start, spare });
    // Whoever replaced `spawn` may not have had a use for it.
    spare?.[Symbol.dispose]();
    return handle;
  }
}
