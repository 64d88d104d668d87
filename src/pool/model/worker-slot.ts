import { type Clock, scheduleMacrotask } from '../../core/index.js';
import { isLive } from '../../worker/index.js';
import type { MemoryGuard } from '../memory/governor.js';
import type { BatchSizes } from '../observe/batch-sizes.js';
import type { PooledWorker } from '../pooled-worker.js';
import type { Priority } from '../priority.js';
import type { RoutingCandidate } from '../routing.js';

/** Where a worker is, as its pool sees it. */
export type SlotState = 'starting' | 'accepting' | 'leaving' | 'gone';

/** What a request takes of a worker. Its class does not change while the worker has it. */
interface Load {
  readonly cost: number;
  readonly priority: Priority;
  readonly isSuspect: boolean;
}

/** For how long what a worker told of its parked requests is believed, in ms. */
const PARKED_MS = 1_000;
const ASK_MS = 500;
const ASK_AGAIN_MS = 100;

/** How many calls wait for something else, out of what a model's `health()` answered with. */
function parkedIn(health: unknown): number {
  const parked = (health as { parked?: unknown } | null | undefined)?.parked;
  return Number.isSafeInteger(parked) && (parked as number) > 0 ? (parked as number) : 0;
}

/**
 * A worker and what the pool has given it.
 *
 * Invariants: `pending` counts requests given and not answered, plus those answered early (given up, out of time) that the model still works on:
 * their places come free when the worker is seen to have let go of them, so nothing is ever queued behind them. Requests of the class `'batch'`
 * leave `reserve` places of the window to the others. The window grows by the requests that wait for something else than the worker, as far as it tells. While it has a suspect of a crash it is given nothing else.
 */
export class WorkerSlot implements RoutingCandidate {
  readonly id: string;
  readonly handle: PooledWorker;
  readonly guard: MemoryGuard;
  readonly window: number;
  readonly reserve: number;
  readonly #maxParked: number;
  state: SlotState = 'starting';
  pending = 0;
  pendingCost = 0;
  /** Since when it has had nothing to do, in ms on the pool's clock. */
  idleSince: number | undefined;
  /** What was last measured, in bytes. */
  measuredBytes: number | undefined;
  served = 0;
  /** Whether its first answer was noted. */
  hasProved = false;
  /** How many requests it had when it crashed; undefined unless it did. */
  crashedWith: number | undefined;
  /** What the model last told of its batches. */
  batchSizes: BatchSizes = {};
  /** When it was started, in ms on the pool's clock. */
  readonly spawnedAt: number;
  readonly #clock: Clock;
  #bulk = 0;
  #parked = 0;
  #parkedAt = Number.NEGATIVE_INFINITY;
  #isAsking = false;
  #hasSuspect = false;
  #abandoned = 0;
  #abandonedCost = 0;
  #abandonedSince = 0;
  #isWatchingAbandoned = false;
  #review: Promise<void> | undefined;
  #onRoom: () => void = () => {};

  constructor(
    handle: PooledWorker,
    guard: MemoryGuard,
    room: { window: number; reserve: number; maxParked?: number },
    clock: Clock,
  ) {
    this.id = handle.id;
    this.handle = handle;
    this.guard = guard;
    this.window = room.window;
    this.reserve = room.reserve;
    this.#maxParked = room.maxParked ?? 0;
    this.#clock = clock;
    this.spawnedAt = clock.now();
  }

  hasRoom(priority: Priority): boolean {
    if (this.state !== 'accepting' || this.#hasSuspect || this.pending >= this.#places) return false;
    return priority !== 'batch' || this.#bulk < this.#places - this.reserve;
  }

  /** The window, and a place for each request that was lately seen to wait for something else. */
  get #places(): number {
    const isKnown = this.#parked > 0 && this.#clock.now() - this.#parkedAt < PARKED_MS;
    return isKnown ? this.window + this.#parked : this.window;
  }

  /**
   * Asks a worker that is full how many of its requests wait for something else than itself, and calls back once it may have room. For requests that
   * wait: a worker that has room is not asked.
   */
  askParked(onRoom: () => void): void {
    if (this.#maxParked === 0 || this.#isAsking || this.state !== 'accepting' || this.pending < this.#places) return;
    this.#isAsking = true;
    const done = (): void => {
      this.#isAsking = false;
      onRoom();
    };
    this.handle.ping({ timeoutMs: ASK_MS }).then(
      ({ model }) => {
        this.#parked = Math.min(this.#maxParked, parkedIn(model));
        this.#parkedAt = this.#clock.now();
        if (this.pending < this.#places) done();
        else this.#clock.setTimer(done, ASK_AGAIN_MS);
      },
      // Busy in native code, or on its way out.
      () => void this.#clock.setTimer(done, ASK_AGAIN_MS),
    );
  }

  /** Whether it gives no sign of life: it is stopped, or this process has not listened. */
  isSilent(): boolean {
    return this.handle.isSilent?.() ?? false;
  }

  /** For how long it has had requests whose callers have been answered, and let go of none of them, in ms. */
  get overdueMs(): number {
    return this.#abandoned === 0 ? 0 : this.#clock.now() - this.#abandonedSince;
  }

  /** How many of the pending requests nobody waits for any more. */
  get abandoned(): number {
    return this.#abandoned;
  }

  /** Whether it runs a suspect of a crash, which runs alone. */
  get hasSuspect(): boolean {
    return this.#hasSuspect;
  }

  begin({ cost, priority, isSuspect }: Load): void {
    this.#hasSuspect = isSuspect;
    if (priority === 'batch') this.#bulk += 1;
    this.pending += 1;
    this.pendingCost += cost;
    this.idleSince = undefined;
  }

  /** A request was answered, at that time. */
  end({ cost, priority }: Load, now: number): void {
    if (priority === 'batch') this.#bulk -= 1;
    this.served += 1;
    this.#release(1, cost, now);
    if (this.#abandoned > 0) this.#reviewSoon();
  }

  /** A request was answered by its deadline or its caller; the model may still be at it. Calls back once places come free. */
  endEarly({ cost, priority }: Load, onRoom: () => void): void {
    if (priority === 'batch') this.#bulk -= 1;
    if (this.#abandoned === 0) this.#abandonedSince = this.#clock.now();
    this.#abandoned += 1;
    this.#abandonedCost += cost;
    this.#onRoom = onRoom;
    this.#reviewSoon();
    void this.#watchAbandoned();
  }

  #release(count: number, cost: number, now: number): void {
    this.pending -= count;
    this.pendingCost = this.pending === 0 ? 0 : this.pendingCost - cost;
    if (this.pending > 0) return;
    this.idleSince = now;
    this.#hasSuspect = false;
  }

  /** Reviews once every answer of this turn was noted: what the handle has let go of by then is no longer pending here either. */
  #reviewSoon(): Promise<void> {
    this.#review ??= new Promise((resolve) => {
      scheduleMacrotask(() => {
        this.#review = undefined;
        const before = this.#abandoned;
        if (before > 0) this.#reviewAbandoned();
        resolve();
        if (this.#abandoned < before) this.#onRoom();
      });
    });
    return this.#review;
  }

  #reviewAbandoned(): void {
    // It was at them when it ended: who was alone in it is asked later.
    if (!isLive(this.handle.state.current)) return;
    const { inFlight, queued } = this.handle.stats();
    const wanted = this.pending - this.#abandoned;
    const left = this.state === 'accepting' ? Math.min(this.#abandoned, Math.max(0, inFlight + queued - wanted)) : 0;
    const freed = this.#abandoned - left;
    if (freed === 0) return;
    const cost = (this.#abandonedCost * freed) / this.#abandoned;
    this.#abandoned = left;
    this.#abandonedSince = this.#clock.now();
    this.#abandonedCost -= cost;
    this.#release(freed, cost, this.#clock.now());
  }

  async #watchAbandoned(): Promise<void> {
    if (this.#isWatchingAbandoned) return;
    this.#isWatchingAbandoned = true;
    while (this.#abandoned > 0 && this.state === 'accepting' && isLive(this.handle.state.current)) {
      await this.handle.released();
      await this.#reviewSoon();
    }
    this.#isWatchingAbandoned = false;
  }
}
