import type { WorkerState } from '../../worker/index.js';
import type { Priority } from '../priority.js';
import type { Routing } from '../routing.js';
import type { SlotState, WorkerSlot } from './worker-slot.js';

/** How long a worker may be at a call whose caller has been answered, in ms, before that is reported. */
const OVERDUE_MS = 1_000;

/** How long a worker is given nothing so that it comes free, and how long it then has what comes before that is tried again, in ms. */
const KEEP_MS = 2_000;

/** The workers of a model that are there, and what is asked of them all together. */
export class WorkerSlots implements Iterable<WorkerSlot> {
  readonly #routing: Routing;
  readonly #slots: WorkerSlot[] = [];
  readonly #room: WorkerSlot[] = [];
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

  /** Workers that can take requests, with room or without. */
  get accepting(): number {
    let count = 0;
    for (const slot of this.#slots) if (slot.state === 'accepting') count += 1;
    return count;
  }

  /** Places for requests in the workers that can take them, taken or free. */
  get places(): number {
    let places = 0;
    for (const slot of this.#slots) if (slot.state === 'accepting') places += slot.window;
    return places;
  }

  /** Memory that is spoken for, in bytes. */
  get heldBytes(): number {
    let bytes = 0;
    for (const slot of this.#slots) bytes += slot.guard.bytes;
    return bytes;
  }

  /** The part of it that is on its way back. */
  get leavingBytes(): number {
    let bytes = 0;
    for (const slot of this.#slots) if (slot.state === 'leaving') bytes += slot.guard.bytes;
    return bytes;
  }

  /** Whether one of them is stopped, or is at a call whose caller has been answered for longer than it should. */
  get hasStuck(): boolean {
    return this.inState('accepting').some((slot) => slot.overdueMs >= OVERDUE_MS || slot.isSilent());
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

  find(id: string): WorkerSlot | undefined {
    return this.#slots.find((slot) => slot.id === id);
  }

  /** The worker that gets the next request, of that class, if any has room for it. One that gives no sign of life gets none while another does. */
  pick(priority: Priority): WorkerSlot | undefined {
    const room = this.#room;
    room.length = 0;
    for (const slot of this.#slots) if (slot !== this.#kept && slot.hasRoom(priority)) room.push(slot);
    if (this.#slots.length > 1) this.#passOverSilent(room);
    if (room.length <= 1) return room[0];
    return this.#routing(room) as WorkerSlot;
  }

  /** Asks those that are full for what of it only waits, and calls back once one may have room. */
  askParked(onRoom: () => void): void {
    for (const slot of this.#slots) slot.askParked(onRoom);
  }

  /**
   * The worker that gets the next suspect: one with nothing else. Where there is none, and none has a suspect, the one with least to do is given nothing
   * more until it has done that, or for a few seconds: it may be long at it. The others go on.
   */
  pickAlone(now: number): WorkerSlot | undefined {
    let least: WorkerSlot | undefined;
    let hasSuspect = false;
    for (const slot of this.#heard()) {
      hasSuspect ||= slot.hasSuspect;
      if (least === undefined || slot.pending < least.pending) least = slot;
    }
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

  /** Those that can take requests and give a sign of life; where none does it is this process that has not listened, and they are all meant. */
  #heard(): WorkerSlot[] {
    const accepting = this.inState('accepting');
    const heard = accepting.filter((slot) => !slot.isSilent());
    return heard.length > 0 ? heard : accepting;
  }

  // A request that then finds no room waits for those that are heard: they are at work, and ask for the next.
  #passOverSilent(room: WorkerSlot[]): void {
    if (!room.some((slot) => slot.isSilent())) return;
    const heard = this.#heard();
    for (let index = room.length - 1; index >= 0; index -= 1) {
      if (!heard.includes(room[index] as WorkerSlot)) room.splice(index, 1);
    }
  }

  /** Whether one is given nothing, so that it comes free. */
  get isKeeping(): boolean {
    return this.#kept !== undefined;
  }

  /** No suspect waits: every worker is for all. */
  keepNone(): void {
    this.#kept = undefined;
    this.#keptSince = Number.NEGATIVE_INFINITY;
  }

  inState(state: SlotState): WorkerSlot[] {
    return this.#slots.filter((slot) => slot.state === state);
  }

  /** The idle worker that has been so for longest. */
  leastRecentlyUsed(): WorkerSlot | undefined {
    let oldest: WorkerSlot | undefined;
    for (const slot of this.#slots) {
      if (slot.state !== 'accepting' || slot.pending > 0 || slot.idleSince === undefined) continue;
      if (oldest === undefined || slot.idleSince < (oldest.idleSince as number)) oldest = slot;
    }
    return oldest;
  }

  /** How many are in which state. */
  countByState(): Partial<Record<WorkerState, number>> {
    const counts: Partial<Record<WorkerState, number>> = {};
    for (const slot of this.#slots) {
      const { current } = slot.handle.state;
      counts[current] = (counts[current] ?? 0) + 1;
    }
    return counts;
  }

  toArray(): WorkerSlot[] {
    return [...this.#slots];
  }

  [Symbol.iterator](): Iterator<WorkerSlot> {
    return this.#slots[Symbol.iterator]();
  }
}
