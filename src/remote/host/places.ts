import type { Clock, ClockTimer } from '../../core/index.js';
import type { ModelIntake, Priority } from '../../pool/internal.js';

// Invariants:
// - `taken` + reservations + what the pool has never exceed capacity + look-ahead by what a host lets in.
// - A caller is on the list at most once. One that is on the list, and a place that is free for it, are never there together after `offer()`.
// - Within a class callers are served in turns: one that was served goes to the end.

/** How long a place is kept for a caller that was told of it, in ms. */
export const RESERVE_MS = 200;

/** A caller that may wait for a place. */
export interface WaitingCaller {
  /** The class of its most urgent call that waits; undefined while it is not on the list. */
  waitsAs: Priority | undefined;
  /** Places that are kept for it. */
  reserved: number;
  /** It is told that a place is kept for it. */
  offered(): void;
}

/** The places of a host: which are free, for whom they are kept, who waits. */
export class Places {
  /** Calls that were let in and are not in the pool yet: their input is on its way. */
  taken = 0;
  lookAhead = 0;
  isClosed = false;
  readonly #intake: ModelIntake;
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #lists: Readonly<Record<Priority, Set<WaitingCaller>>> = {
    interactive: new Set(),
    normal: new Set(),
    batch: new Set(),
  };
  readonly #timers = new Map<WaitingCaller, ClockTimer>();
  #reserved = 0;
  #isOffering = false;

  constructor(intake: ModelIntake, clock: Clock, limit: number) {
    this.#intake = intake;
    this.#clock = clock;
    this.#limit = limit;
  }

  /** How many calls it may have. */
  get total(): number {
    return this.isClosed ? 0 : Math.min(this.#limit, this.#intake.capacity);
  }

  /** How many more it would take now, those places left out that are kept for a caller. */
  get free(): number {
    if (this.isClosed) return 0;
    return this.total + this.lookAhead - this.#intake.load - this.taken - this.#reserved;
  }

  get waiting(): number {
    return this.#lists.interactive.size + this.#lists.normal.size + this.#lists.batch.size;
  }

  /** Whether a call is let in; a place that is kept for its caller is used up. Else the caller is put on the list. */
  admit(caller: WaitingCaller, priority: Priority): boolean {
    if (caller.reserved > 0 && !this.isClosed) {
      this.#release(caller);
      this.taken += 1;
      return true;
    }
    if (this.#freeFor(priority) > 0) {
      this.taken += 1;
      return true;
    }
    this.list(caller, priority);
    return false;
  }

  /** Puts a caller on the list, and offers it a place if there is one. */
  list(caller: WaitingCaller, priority: Priority): void {
    if (this.isClosed) return;
    if (caller.waitsAs !== priority) {
      this.unlist(caller);
      caller.waitsAs = priority;
      this.#lists[priority].add(caller);
    }
    this.offer();
  }

  unlist(caller: WaitingCaller): void {
    if (caller.waitsAs !== undefined) this.#lists[caller.waitsAs].delete(caller);
    caller.waitsAs = undefined;
  }

  /** A caller does not want the place that is kept for it, or is gone. */
  decline(caller: WaitingCaller): void {
    this.#release(caller);
    this.offer();
  }

  /** Offers free places to those that wait. To be called whenever one may have come free. */
  offer(): void {
    // Its callback may have a call started at once, which comes back here.
    if (this.#isOffering) return;
    this.#isOffering = true;
    for (const priority of ['interactive', 'normal', 'batch'] as const) {
      const list = this.#lists[priority];
      while (list.size > 0 && this.#freeFor(priority) > 0) {
        const [caller] = list as Set<WaitingCaller> & Iterable<WaitingCaller>;
        this.#reserve(caller as WaitingCaller);
      }
    }
    this.#isOffering = false;
  }

  close(): void {
    this.isClosed = true;
    for (const list of Object.values(this.#lists)) for (const caller of [...list]) this.unlist(caller);
    for (const caller of [...this.#timers.keys()]) this.#release(caller);
  }

  #freeFor(priority: Priority): number {
    return priority === 'batch' ? this.free - this.#intake.reserve : this.free;
  }

  #reserve(caller: WaitingCaller): void {
    this.unlist(caller);
    caller.reserved += 1;
    this.#reserved += 1;
    this.#timers.get(caller)?.cancel();
    this.#timers.set(
      caller,
      this.#clock.setTimer(() => {
        this.#releaseAll(caller);
        this.offer();
      }, RESERVE_MS),
    );
    caller.offered();
  }

  #release(caller: WaitingCaller): void {
    if (caller.reserved === 0) return;
    caller.reserved -= 1;
    this.#reserved -= 1;
    if (caller.reserved > 0) return;
    this.#timers.get(caller)?.cancel();
    this.#timers.delete(caller);
  }

  #releaseAll(caller: WaitingCaller): void {
    while (caller.reserved > 0) this.#release(caller);
  }
}
