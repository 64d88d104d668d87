/**
 * Shares a memory limit among all workers of a process, whichever pool they belong to.
 *
 * Invariants: `heldBytes` is the sum over the guards that are not disposed of; a guard gives back what it holds exactly once; waiters are served
 * in order, and only events wake them: a guard disposed of or corrected downwards, a worker gone idle. Nothing polls. While nothing is held, the worker
 * of a model is granted whatever it needs: the limit decides how many run, not whether one does.
 */
import {
  type Clock,
  type ClockTimer,
  fillOptions,
  numberFrom,
  type OptionTable,
  option,
  requireClock,
  requireNumber,
  systemClock,
} from '../core/index.js';
import { MemoryExhaustedError, type MemoryHolding, megabytes } from './errors.js';
import { availableMemory } from './machine.js';

/** How the limit is found, unless `limitBytes` says it. */
export interface MemoryGovernorOptions {
  /** The limit itself, in bytes. */
  readonly limitBytes?: number | undefined;
  /** The fraction of the memory that may be used; 0.8 by default. */
  readonly fraction?: number | undefined;
  /** Memory reserved for the process itself, in bytes; 256 MB by default. */
  readonly reserveBytes?: number | undefined;
  readonly clock?: Clock | undefined;
}

const byteCount = numberFrom(0, Number.MAX_SAFE_INTEGER);
const GOVERNOR_OPTIONS = {
  limitBytes: option(byteCount),
  fraction: option(numberFrom(0, 1), 0.8),
  reserveBytes: option(byteCount, 256_000_000),
  clock: option(requireClock, systemClock),
} satisfies OptionTable<MemoryGovernorOptions>;

/** Memory that is spoken for. Disposing of it gives it back; doing so again does nothing. */
export interface MemoryGuard extends Disposable {
  readonly owner: string;
  readonly bytes: number;
  /** Replaces the estimate by what was measured; it may exceed the limit, which then shows in the next grant. */
  correct(bytes: number): void;
}

/** Something that can free memory: a model with idle workers. */
export interface MemoryReclaimer {
  readonly owner: string;
  /** When its least recently used idle worker was last used; undefined when it has none to give. */
  idleSince(): number | undefined;
  /** Begins to evict that worker; its guard is disposed of when the worker is gone. */
  reclaim(): void;
  /** Bytes of evictions under way. */
  reclaimingBytes(): number;
}

interface Waiter {
  readonly owner: string;
  readonly bytes: number;
  readonly requester: MemoryReclaimer | undefined;
  readonly resolve: (guard: MemoryGuard) => void;
  readonly reject: (error: unknown) => void;
  timer: ClockTimer | undefined;
}

class Guard implements MemoryGuard {
  readonly owner: string;
  #bytes: number;
  #open = true;
  readonly #changed: (guard: Guard, difference: number, disposed: boolean) => void;

  constructor(owner: string, bytes: number, changed: (guard: Guard, difference: number, disposed: boolean) => void) {
    this.owner = owner;
    this.#bytes = bytes;
    this.#changed = changed;
  }

  get bytes(): number {
    return this.#open ? this.#bytes : 0;
  }

  correct(bytes: number): void {
    requireNumber('Cannot correct memory', 'bytes', bytes, 0, Number.MAX_SAFE_INTEGER);
    if (!this.#open) return;
    const difference = bytes - this.#bytes;
    this.#bytes = bytes;
    this.#changed(this, difference, false);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#changed(this, -this.#bytes, true);
  }
}

/**
 * Grants memory to workers, and has idle ones evicted when it runs short.
 *
 * @example
 * ```ts
 * const governor = new MemoryGovernor({ limitBytes: 100_000_000 });
 * const guard = await governor.acquire('clip', 80_000_000, 1_000);
 * governor.tryAcquire('whisper', 40_000_000); // => undefined
 * guard[Symbol.dispose]();
 * governor.heldBytes; // => 0
 * ```
 */
export class MemoryGovernor {
  readonly limitBytes: number;
  /** Where the limit comes from and how it is changed, for errors; empty where `limitBytes` was given. */
  readonly #origin: string;
  readonly #clock: Clock;
  readonly #guards = new Set<Guard>();
  readonly #reclaimers = new Set<MemoryReclaimer>();
  readonly #waiters: Waiter[] = [];
  #heldBytes = 0;

  /**
   * @param options See {@link MemoryGovernorOptions}; unknown keys are refused.
   * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
   */
  constructor(options?: MemoryGovernorOptions) {
    const action = 'Cannot create memory governor';
    const { fraction, reserveBytes, limitBytes, clock } = fillOptions(action, options, GOVERNOR_OPTIONS);
    const available = availableMemory();
    this.limitBytes = limitBytes ?? Math.max(0, fraction * available.bytes - reserveBytes);
    this.#origin =
      limitBytes === undefined
        ? ` (${Math.round(fraction * 100)} % of the ${megabytes(available.bytes)} of the ${available.of}, less a reserve of ${megabytes(reserveBytes)}; for another limit create the pool with governor: new MemoryGovernor({ limitBytes }), an image pool with pool: { governor })`
        : '';
    this.#clock = clock;
  }

  /** Everything granted and not given back, in bytes. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** How many wait for memory. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /** What each owner holds, the largest first. */
  holdings(): MemoryHolding[] {
    const byOwner = new Map<string, { bytes: number; workers: number }>();
    for (const guard of this.#guards) {
      const entry = byOwner.get(guard.owner) ?? { bytes: 0, workers: 0 };
      entry.bytes += guard.bytes;
      entry.workers += 1;
      byOwner.set(guard.owner, entry);
    }
    return [...byOwner].map(([owner, entry]) => ({ owner, ...entry })).sort((a, b) => b.bytes - a.bytes);
  }

  /** Lets the governor ask for idle workers. */
  addReclaimer(reclaimer: MemoryReclaimer): Disposable {
    this.#reclaimers.add(reclaimer);
    return {
      [Symbol.dispose]: () => {
        this.#reclaimers.delete(reclaimer);
      },
    };
  }

  /**
   * Takes memory if there is room right now.
   *
   * @throws TypeError, RangeError When `bytes` is no number of at least 0.
   */
  tryAcquire(owner: string, bytes: number): MemoryGuard | undefined {
    requireNumber('Cannot acquire memory', 'bytes', bytes, 0, Number.MAX_SAFE_INTEGER);
    if (this.#waiters.length > 0 || this.#heldBytes + bytes > this.limitBytes) return undefined;
    return this.#grant(owner, bytes);
  }

  /**
   * Takes memory, evicting idle workers of others than the requester where that helps, and waiting for them and for others to end up to `waitMs`.
   * A requester that holds nothing is granted more than the limit once no other holds anything.
   *
   * **Cancel safety:** takes no signal; a guard that is not wanted any more is disposed of by its receiver.
   *
   * @throws {MemoryExhaustedError} When it cannot fit, or did not in time.
   */
  acquire(owner: string, bytes: number, waitMs: number, requester?: MemoryReclaimer): Promise<MemoryGuard> {
    const guard = this.tryAcquire(owner, bytes);
    if (guard !== undefined) return Promise.resolve(guard);
    if (bytes > this.limitBytes && (requester === undefined || this.#holds(owner))) {
      return Promise.reject(this.#exhausted(owner, bytes));
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { owner, bytes, requester, resolve, reject, timer: undefined };
      this.#waiters.push(waiter);
      waiter.timer = this.#clock.setTimer(() => this.#expire(waiter), waitMs, { ref: true });
      this.#serve();
    });
  }

  /** Rejects what a requester waits for: it has no use for it any more, and is in the way of others. */
  forgo(requester: MemoryReclaimer): void {
    for (const waiter of this.#waiters.filter((each) => each.requester === requester)) {
      waiter.timer?.cancel();
      this.#expire(waiter);
    }
  }

  /** Tells that a worker has gone idle, which may be what a waiter needs. */
  idleChanged(): void {
    if (this.#waiters.length > 0) this.#serve();
  }

  #grant(owner: string, bytes: number): MemoryGuard {
    const guard = new Guard(owner, bytes, (changed, difference, disposed) => {
      this.#heldBytes += difference;
      if (disposed) this.#guards.delete(changed);
      if (difference < 0 && this.#waiters.length > 0) this.#serve();
    });
    this.#guards.add(guard);
    this.#heldBytes += bytes;
    return guard;
  }

  #serve(): void {
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      if (!this.#fits(waiter, this.#heldBytes)) {
        this.#makeRoom(waiter);
        return;
      }
      this.#waiters.shift();
      waiter.timer?.cancel();
      waiter.resolve(this.#grant(waiter.owner, waiter.bytes));
    }
  }

  #fits({ bytes, requester }: Waiter, heldBytes: number): boolean {
    return heldBytes + bytes <= this.limitBytes || (requester !== undefined && heldBytes <= 0);
  }

  #holds(owner: string): boolean {
    for (const guard of this.#guards) if (guard.owner === owner) return true;
    return false;
  }

  // Evicts only as many as the first waiter needs, counting those already on their way out.
  #makeRoom(waiter: Waiter): void {
    for (;;) {
      let leaving = 0;
      let victim: MemoryReclaimer | undefined;
      let oldest = Number.POSITIVE_INFINITY;
      for (const reclaimer of this.#reclaimers) {
        leaving += reclaimer.reclaimingBytes();
        const idleSince = reclaimer === waiter.requester ? undefined : reclaimer.idleSince();
        if (idleSince !== undefined && idleSince < oldest) {
          oldest = idleSince;
          victim = reclaimer;
        }
      }
      if (victim === undefined || this.#fits(waiter, this.#heldBytes - leaving)) return;
      victim.reclaim();
      if (this.#waiters[0] !== waiter) return;
    }
  }

  #expire(waiter: Waiter): void {
    const index = this.#waiters.indexOf(waiter);
    if (index < 0) return;
    this.#waiters.splice(index, 1);
    waiter.reject(this.#exhausted(waiter.owner, waiter.bytes));
    this.#serve();
  }

  #exhausted(owner: string, bytes: number): MemoryExhaustedError {
    return new MemoryExhaustedError(owner, bytes, this.limitBytes, this.holdings(), this.#origin);
  }
}

let shared: MemoryGovernor | undefined;

/**
 * The governor that all pools of this process share, unless they are given another. Made when first asked for.
 *
 * @example
 * ```ts
 * processMemoryGovernor() === processMemoryGovernor(); // => true
 * ```
 */
export function processMemoryGovernor(): MemoryGovernor {
  shared ??= new MemoryGovernor();
  return shared;
}
