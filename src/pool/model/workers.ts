import type { Clock } from '../../core/index.js';
import type { WorkerState } from '../../worker/index.js';
import { isLive } from '../../worker/internal.js';
import { residentBytes } from '../machine.js';
import type { MemoryGuard } from '../memory-governor.js';
import type { ModelSettings } from '../model-options.js';
import type { BatchSizes } from '../observe/counts.js';
import type { PooledWorker } from '../pooled-worker.js';
import type { Priority } from '../priority.js';
import type { Routing, RoutingCandidate } from '../routing.js';
import type { Job } from './job.js';

/** Where a worker is, as its pool sees it. */
export type SlotState = 'starting' | 'accepting' | 'leaving' | 'gone';

/** The states that each state can be followed by. */
export const slotTransitions: Readonly<Record<SlotState, readonly SlotState[]>> = {
  starting: ['accepting', 'leaving', 'gone'],
  accepting: ['leaving', 'gone'],
  leaving: ['gone'],
  gone: [],
};

/** For how long what a worker told of its parked requests is believed, in ms. */
const PARKED_MS = 1_000;
/** How long a worker may take to answer a question, in ms, and how soon it is asked again. */
export const ASK_MS = 500;
const ASK_AGAIN_MS = 100;
/** How long a worker may be at a call whose caller has been answered, in ms, before that is reported. */
const OVERDUE_MS = 1_000;
/** How long a worker is given nothing so that it comes free, and how long it then has what comes before that is tried again, in ms. */
const KEEP_MS = 2_000;

/**
 * A worker and what the pool has given it.
 *
 * Invariants: `pending` counts the requests that it was given and has not let go of, those that were answered early (given up, out of time) among them,
 * so nothing is ever queued behind them. Requests of the class `'batch'` leave `reserve` places of the window to the others. The window grows by the
 * requests that wait for something else than the worker, as far as it tells. While it has a suspect of a crash it is given nothing else.
 */
export class WorkerSlot implements RoutingCandidate {
  readonly id: string;
  readonly worker: PooledWorker;
  readonly guard: MemoryGuard;
  /** When it was started, in ms on the pool's clock. */
  readonly spawnedAt: number;
  pending = 0;
  /** How many requests it has answered. */
  served = 0;
  /** Since when it has had nothing to do, in ms on the pool's clock. */
  idleSince: number | undefined;
  /** What was last measured, in bytes. */
  measuredBytes: number | undefined;
  /** How many requests it had when it crashed; undefined unless it did. */
  crashedWith: number | undefined;
  /** Whether it runs a suspect of a crash, which runs alone. */
  hasSuspect = false;
  /** How many of the pending requests no caller waits for any more. */
  abandoned = 0;
  /** How many workers before it, each of which replaced the one before, have crashed. */
  restarts = 0;
  /** What it crashed with; before that, what the one that it replaces crashed with. */
  lastError: unknown;
  /** What its model last told of its batches. */
  batchSizes: BatchSizes = {};
  /** What its model last told of itself. */
  modelHealth: unknown;
  /** Its process, once it has told; that of the caller where it has none of its own. */
  pid: number | undefined;
  readonly #clock: Clock;
  readonly #window: number;
  readonly #reserve: number;
  readonly #maxParked: number;
  #state: SlotState = 'starting';
  #bulk = 0;
  #abandonedSince = 0;
  #parked = 0;
  #parkedAt = Number.NEGATIVE_INFINITY;
  #isAsking = false;
  #asked: Promise<void> | undefined;

  constructor(worker: PooledWorker, guard: MemoryGuard, settings: ModelSettings, clock: Clock) {
    this.id = worker.id;
    this.worker = worker;
    this.guard = guard;
    this.#window = settings.window;
    this.#reserve = settings.reserve;
    this.#maxParked = settings.maxParked;
    this.#clock = clock;
    this.spawnedAt = clock.now();
  }

  get state(): SlotState {
    return this.#state;
  }

  become(next: SlotState): void {
    if (!slotTransitions[this.#state].includes(next))
      throw new Error(`A worker cannot be ${next} after ${this.#state}`);
    this.#state = next;
  }

  /** How many requests it may have at once. */
  get window(): number {
    return this.worker.places ?? this.#window;
  }

  hasRoom(priority: Priority): boolean {
    if (this.worker.hasRoom !== undefined) {
      return this.#state === 'accepting' && isLive(this.worker.state.current) && this.worker.hasRoom(priority);
    }
    if (this.#state !== 'accepting' || this.hasSuspect || this.pending >= this.#places) return false;
    // The fleet hears of its end a moment later; what it was given until then would count as lost with it.
    if (!isLive(this.worker.state.current)) return false;
    return priority !== 'batch' || this.#bulk < this.#places - this.#reserve;
  }

  /** The window, and a place for each request that was lately seen to wait for something else. */
  get #places(): number {
    const isKnown = this.#parked > 0 && this.#clock.now() - this.#parkedAt < PARKED_MS;
    return isKnown ? this.window + this.#parked : this.window;
  }

  /** Whether it gives no sign of life: it is stopped, or this process has not listened. */
  isSilent(): boolean {
    return this.worker.isSilent?.() ?? false;
  }

  /** For how long it has had requests whose callers have been answered, and let go of none of them, in ms. */
  get overdueMs(): number {
    return this.abandoned === 0 ? 0 : this.#clock.now() - this.#abandonedSince;
  }

  /** It is given a request. */
  begin({ priority, isSuspect }: Job): void {
    this.hasSuspect = isSuspect;
    if (priority === 'batch') this.#bulk += 1;
    this.pending += 1;
    this.idleSince = undefined;
  }

  /** A request that it has was answered: by its model, by the deadline, an abort or a shutdown. */
  answered({ priority, isServed }: Job): void {
    if (priority === 'batch') this.#bulk -= 1;
    if (isServed) {
      this.served += 1;
      return;
    }
    if (this.abandoned === 0) this.#abandonedSince = this.#clock.now();
    this.abandoned += 1;
  }

  /** It has given a request back, unanswered. */
  letGo({ priority }: Job): void {
    if (priority === 'batch') this.#bulk -= 1;
    this.pending -= 1;
    if (this.pending === 0) this.idleSince = this.#clock.now();
  }

  /** It has let go of a request that was answered. */
  released({ isServed }: Job): void {
    if (!isServed) {
      this.abandoned -= 1;
      this.#abandonedSince = this.#clock.now();
    }
    this.pending -= 1;
    if (this.pending > 0) return;
    this.idleSince = this.#clock.now();
    this.hasSuspect = false;
  }

  /**
   * Asks a worker that is full how many of its requests wait for something else than itself, and calls back once it may have room. For requests that
   * wait: a worker that has room is not asked.
   */
  askParked(onRoom: () => void): void {
    if (this.#maxParked === 0 || this.#isAsking || this.#state !== 'accepting' || this.pending < this.#places) return;
    this.#isAsking = true;
    const done = (): void => {
      this.#isAsking = false;
      onRoom();
    };
    this.worker.ping({ timeoutMs: ASK_MS }).then(
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

  /** It takes the place of one that has crashed. */
  replaces(crashed: WorkerSlot): void {
    this.restarts = crashed.restarts + 1;
    this.lastError = crashed.lastError;
  }

  /**
   * Asks it how it and its model are. Questions that come meanwhile share the answer: a worker that is long in native code is asked once. One that does
   * not answer in time stays as it was last known.
   */
  ask(): Promise<void> {
    this.#asked ??= this.worker
      .ping({ timeoutMs: ASK_MS })
      .then(
        ({ pid, model }) => {
          this.pid = pid;
          // The handle answers for a loop that is busy, and knows nothing of the model.
          if (model !== undefined) this.modelHealth = model;
          this.batchSizes = batchSizesIn(model) ?? this.batchSizes;
        },
        () => {},
      )
      .finally(() => {
        this.#asked = undefined;
      });
    return this.#asked;
  }

  /**
   * What its process occupies, in bytes: its proportional share where the system tells it, else its resident memory; undefined while neither is known. It
   * is asked for its process once, and again where the system does not tell.
   */
  async residentBytes(timeoutMs: number): Promise<number | undefined> {
    const told = this.pid === undefined ? undefined : await residentBytes(this.pid);
    if (told !== undefined) return told;
    try {
      const { pid, rss } = await this.worker.ping({ timeoutMs });
      this.pid = pid;
      return (await residentBytes(pid)) ?? (rss > 0 ? rss : undefined);
    } catch {
      // On its way out, or long in native code: the next time will do.
      return undefined;
    }
  }
}

/** How many calls wait for something else, out of what a model's `health()` answered with. */
function parkedIn(health: unknown): number {
  const parked = (health as { parked?: unknown } | null | undefined)?.parked;
  return Number.isSafeInteger(parked) && (parked as number) > 0 ? (parked as number) : 0;
}

/** The batch sizes in what a model's `health()` answered with, if they are there. */
function batchSizesIn(health: unknown): BatchSizes | undefined {
  const sizes = (health as { batchSizes?: unknown } | null | undefined)?.batchSizes;
  if (typeof sizes !== 'object' || sizes === null) return undefined;
  for (const [size, count] of Object.entries(sizes)) {
    if (!(Number(size) > 0) || !Number.isSafeInteger(count) || count < 0) return undefined;
  }
  return sizes as BatchSizes;
}

/** The workers of a model that are there, and the choice of the one that gets the next request. */
export class Workers implements Iterable<WorkerSlot> {
  readonly #routing: Routing;
  readonly #slots: WorkerSlot[] = [];
  // It is given nothing, so that it comes free for a suspect.
  #kept: WorkerSlot | undefined;
  // Since when one is kept, or none because the last one did not come free.
  #keptSince = Number.NEGATIVE_INFINITY;

  constructor(routing: Routing) {
    this.#routing = routing;
  }

  get size(): number {
    return this.#slots.length;
  }

  /** How many can take requests, with room or without. */
  get accepting(): number {
    return this.inState('accepting').length;
  }

  /** Places for requests in the workers that can take them, taken or free. */
  get places(): number {
    return this.inState('accepting').reduce((sum, { window }) => sum + window, 0);
  }

  /** Memory that is spoken for, in bytes. */
  get heldBytes(): number {
    return sumOfBytes(this.#slots);
  }

  /** The part of it that is on its way back. */
  get leavingBytes(): number {
    return sumOfBytes(this.inState('leaving'));
  }

  /** Whether one of them is stopped, or is at a call whose caller has been answered for longer than it should. */
  get hasStuck(): boolean {
    return this.inState('accepting').some((slot) => slot.overdueMs >= OVERDUE_MS || slot.isSilent());
  }

  /** Whether one is given nothing, so that it comes free. */
  get isKeeping(): boolean {
    return this.#kept !== undefined;
  }

  add(slot: WorkerSlot): void {
    this.#slots.push(slot);
  }

  /** False when it is not there. */
  remove(slot: WorkerSlot): boolean {
    const index = this.#slots.indexOf(slot);
    if (index < 0) return false;
    this.#slots.splice(index, 1);
    return true;
  }

  inState(state: SlotState): WorkerSlot[] {
    return this.#slots.filter((slot) => slot.state === state);
  }

  /** The worker that gets the next request, of that class, if any has room for it. One that gives no sign of life gets none while another does. */
  pick(priority: Priority): WorkerSlot | undefined {
    if (this.#slots.length === 1) {
      const only = this.#slots[0] as WorkerSlot;
      return only !== this.#kept && only.hasRoom(priority) ? only : undefined;
    }
    let room = this.#slots.filter((slot) => slot !== this.#kept && slot.hasRoom(priority));
    if (room.some((slot) => slot.isSilent())) {
      // A request that then finds no room waits for those that are heard: they are at work, and ask for the next.
      const heard = this.#heard();
      room = room.filter((slot) => heard.includes(slot));
    }
    return room.length <= 1 ? room[0] : (this.#routing(room) as WorkerSlot);
  }

  /**
   * The worker that gets the next suspect: one with nothing else. If no worker is free and none has a suspect, the least busy one gets no further
   * requests until it is free, or for a few seconds, because its calls may be long. The other workers go on.
   */
  pickAlone(now: number): WorkerSlot | undefined {
    const heard = this.#heard();
    const hasSuspect = heard.some((slot) => slot.hasSuspect);
    let least = heard[0];
    for (const slot of heard) if (slot.pending < (least as WorkerSlot).pending) least = slot;
    const isFree = least?.pending === 0;
    const isOver = now - this.#keptSince >= KEEP_MS;
    if (isFree || hasSuspect) this.#kept = undefined;
    else if (this.#kept?.state === 'accepting' ? isOver : isOver || this.#kept !== undefined) {
      // In rotation: all that waits is served in the end.
      this.#kept = this.#kept?.state === 'accepting' ? undefined : least;
      this.#keptSince = now;
    }
    return isFree ? least : undefined;
  }

  /** No suspect waits: every worker is for all. */
  keepNone(): void {
    this.#kept = undefined;
    this.#keptSince = Number.NEGATIVE_INFINITY;
  }

  /** Asks those that are full for what of it only waits, and calls back once one may have room. */
  askParked(onRoom: () => void): void {
    for (const slot of this.#slots) slot.askParked(onRoom);
  }

  /** The idle worker that has been so for longest. */
  leastRecentlyUsed(): WorkerSlot | undefined {
    const idle = this.inState('accepting').filter((slot) => slot.pending === 0 && slot.idleSince !== undefined);
    return idle.sort((a, b) => (a.idleSince as number) - (b.idleSince as number))[0];
  }

  /** How many are in which state. */
  countByState(): Partial<Record<WorkerState, number>> {
    const counts: Partial<Record<WorkerState, number>> = {};
    for (const { worker } of this.#slots) counts[worker.state.current] = (counts[worker.state.current] ?? 0) + 1;
    return counts;
  }

  [Symbol.iterator](): Iterator<WorkerSlot> {
    return [...this.#slots][Symbol.iterator]();
  }

  /** Those that can take requests and give a sign of life. Where none does, it is this process that has not listened, and they are all meant. */
  #heard(): WorkerSlot[] {
    const accepting = this.inState('accepting').filter(({ worker }) => isLive(worker.state.current));
    const heard = accepting.filter((slot) => !slot.isSilent());
    return heard.length > 0 ? heard : accepting;
  }
}

function sumOfBytes(slots: readonly WorkerSlot[]): number {
  return slots.reduce((sum, { guard }) => sum + guard.bytes, 0);
}
