/**
 * Processes kept ready for workers that are to start: forked, with their modules imported, and without a model.
 *
 * Invariants: a spare's memory guard is disposed of once, when it is taken or gone; spares are made only of memory that is free, never by evicting
 * a worker, and are the first to go when it is short; nothing is tried again by time alone: a spare is made when one was taken or a worker has ended.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Clock, ClockTimer } from '../core/index.js';
import { type SpareHost, startSpareHost } from '../worker/index.js';
import { inNeutralContext } from '../worker/internal.js';
import { residentBytes } from './machine.js';
import type { MemoryGovernor, MemoryGuard, MemoryReclaimer } from './memory-governor.js';
import type { WorkerPart } from './model-options.js';
import type { SpareHostSettings } from './pool-options.js';

/** How long after a spare is taken the next is made, in ms: the load that took it should have the machine first. */
const REFILL_MS = 1_000;
/** How long none is made after one had to go for want of memory, in ms. */
const SHORTAGE_MS = 30_000;
/** For how long the wait for a spare's end holds the process at most, in ms. */
const END_MS = 10_000;
/** What a process without a model is taken to cost until it was measured. */
const UNKNOWN_BYTES = 64_000_000;

interface Kept {
  readonly host: SpareHost;
  readonly guard: MemoryGuard;
  isLeaving: boolean;
}

/** Starts one spare; replaced in tests. */
type StartSpare = (settings: Omit<SpareHostSettings, 'count'>) => SpareHost;

export class SpareHosts implements MemoryReclaimer {
  readonly owner: string;
  readonly #settings: SpareHostSettings;
  readonly #governor: MemoryGovernor;
  readonly #clock: Clock;
  readonly #start: StartSpare;
  readonly #kept = new Set<Kept>();
  readonly #reclaimer: Disposable;
  #timer: ClockTimer | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;
  #learntBytes = UNKNOWN_BYTES;
  #isClosed = false;

  constructor(
    owner: string,
    settings: SpareHostSettings,
    { governor, clock }: { readonly governor: MemoryGovernor; readonly clock: Clock },
    start: StartSpare = startSpareHost,
  ) {
    this.owner = owner;
    this.#settings = settings;
    this.#governor = governor;
    this.#clock = clock;
    this.#start = start;
    this.#fill();
    this.#reclaimer = governor.addReclaimer(this);
  }

  /** How many are there to be taken. */
  get size(): number {
    let size = 0;
    for (const each of this.#kept) if (!each.isLeaving) size += 1;
    return size;
  }

  /** A spare for a worker that is started so, if there is one; its memory is then the worker's to ask for. */
  take(worker: WorkerPart): SpareHost | undefined {
    if (!this.#isFor(worker)) return undefined;
    let taken: Kept | undefined;
    for (const each of this.#kept) {
      if (each.isLeaving || !each.host.isAvailable) continue;
      taken = each;
      break;
    }
    this.refill();
    if (taken === undefined) return undefined;
    this.#kept.delete(taken);
    taken.guard[Symbol.dispose]();
    return taken.host;
  }

  /** To be called when a place or memory may have come free: makes what is missing, a little later. */
  refill(): void {
    if (this.#isClosed || this.#timer !== undefined) return;
    const fill = (): void => {
      this.#timer = undefined;
      try {
        this.#fill();
      } catch {
        // The system has no process to give: a worker that needs one will say so.
      }
    };
    const ms = Math.max(REFILL_MS, this.#notBefore - this.#clock.now());
    this.#timer = inNeutralContext(() => this.#clock.setTimer(fill, ms));
  }

  idleSince(): number | undefined {
    return this.size > 0 ? Number.NEGATIVE_INFINITY : undefined;
  }

  reclaim(): void {
    for (const each of this.#kept) {
      if (each.isLeaving) continue;
      this.#notBefore = this.#clock.now() + SHORTAGE_MS;
      this.#end(each);
      return;
    }
  }

  reclaimingBytes(): number {
    let bytes = 0;
    for (const each of this.#kept) if (each.isLeaving) bytes += each.guard.bytes;
    return bytes;
  }

  /** Ends them all; resolves once they are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const leaving = [...this.#kept];
    for (const each of leaving) this.#end(each);
    // A spare does not hold the process, but what waits for its end here does.
    const hold = this.#clock.setTimer(() => {}, END_MS, { ref: true });
    await Promise.all(leaving.map(({ host }) => host.exited));
    hold.cancel();
    this.#reclaimer[Symbol.dispose]();
  }

  #isFor({ env, cwd, execPath, execArgv, stdio = 'inherit', threadPoolSize, heapMb }: WorkerPart): boolean {
    const settings = this.#settings;
    return isDeepStrictEqual(
      [env, cwd, execPath, execArgv, stdio, threadPoolSize, heapMb],
      [
        settings.env,
        settings.cwd,
        settings.execPath,
        settings.execArgv,
        settings.stdio ?? 'inherit',
        settings.threadPoolSize,
        settings.heapMb,
      ],
    );
  }

  #fill(): void {
    const { count, ...settings } = this.#settings;
    if (this.#isClosed || this.#clock.now() < this.#notBefore) return;
    while (this.#kept.size < count) {
      const guard = this.#governor.tryAcquire(this.owner, this.#learntBytes);
      if (guard === undefined) return;
      try {
        this.#keep(this.#start(settings), guard);
      } catch (error) {
        guard[Symbol.dispose]();
        throw error;
      }
    }
  }

  #keep(host: SpareHost, guard: MemoryGuard): void {
    const kept: Kept = { host, guard, isLeaving: false };
    this.#kept.add(kept);
    void host.exited.then(() => {
      if (this.#kept.delete(kept)) guard[Symbol.dispose]();
    });
    void host.ready.then(async (isReady) => {
      const bytes = isReady && host.pid !== undefined ? await residentBytes(host.pid) : undefined;
      if (bytes === undefined || !this.#kept.has(kept)) return;
      guard.correct(bytes);
      this.#learntBytes = bytes;
    });
  }

  #end(kept: Kept): void {
    kept.isLeaving = true;
    kept.host[Symbol.dispose]();
  }
}
