/**
 * Which requests are let in: by how many images are under way, and by how long they are going to take. A request is let in with all of its images or
 * refused before any is run.
 *
 * Invariants: `underWay` is the number of images that were let in and are not answered, and above `limit` only while a single request has more than
 * that; `accepted` = `succeeded` + `failed` + `expired` + `cancelled` + `underWay`.
 */
import { Refusal } from './http/refusal.js';

/** How an image that was let in ended. */
export type ItemOutcome = 'succeeded' | 'failed' | 'expired' | 'cancelled';

/** What admission goes by. */
export interface AdmissionOptions {
  /** How many images may be under way. */
  readonly maxUnderWay: number;
  /** How long an answer may take, in ms. */
  readonly timeoutMs: number;
  /** The time now, in ms. */
  readonly now: () => number;
}

/** Before anything was measured. */
const FIRST_RETRY_MS = 1_000;
const LEAST_RETRY_MS = 50;
const MOST_RETRY_MS = 30_000;
/** A request that is expected to take longer than this share of its time is refused. */
const SHARE_OF_TIMEOUT = 0.8;

/** Lets requests in. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #outcomes: Record<ItemOutcome, number> = { succeeded: 0, failed: 0, expired: 0, cancelled: 0 };
  readonly #rate: BusyRate;
  readonly #refusals: RecentCount;
  #underWay = 0;
  #accepted = 0;
  #refused = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#rate = new BusyRate(options.now);
    this.#refusals = new RecentCount(options.now);
  }

  get limit(): number {
    return this.#options.maxUnderWay;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** Images answered a second while any were under way, lately; undefined before enough of them were. */
  get perSecond(): number | undefined {
    return this.#rate.perSecond;
  }

  counts(): Readonly<Record<ItemOutcome | 'accepted' | 'refused' | 'underWay', number>> {
    return { accepted: this.#accepted, refused: this.#refused, underWay: this.#underWay, ...this.#outcomes };
  }

  /**
   * When a refused request has a fair chance, in ms from now: when a tenth of what is under way is likely to be done, and as many more as were refused
   * in the last second, who all come again.
   */
  get retryAfterMs(): number {
    const { perSecond } = this;
    if (perSecond === undefined) return FIRST_RETRY_MS;
    const before = this.#underWay / 10 + this.#refusals.recent;
    const ms = (Math.max(1, before) / perSecond) * 1_000;
    return Math.round(Math.min(MOST_RETRY_MS, Math.max(LEAST_RETRY_MS, ms)));
  }

  /** Refuses where there is no room for even one image: before a body is read for nothing. */
  requireRoom(): void {
    if (!this.#hasRoom(1)) throw this.#refuse();
  }

  /** Lets the images of a request in. */
  enter(count: number): void {
    if (!this.#hasRoom(count)) throw this.#refuse();
    if (this.#underWay === 0) this.#rate.start();
    this.#underWay += count;
    this.#accepted += count;
  }

  /** One image that was let in has ended. */
  leave(outcome: ItemOutcome): void {
    this.#underWay--;
    this.#outcomes[outcome]++;
    if (outcome !== 'cancelled') this.#rate.add();
  }

  #hasRoom(count: number): boolean {
    const { maxUnderWay, timeoutMs } = this.#options;
    // A request of more images than are ever let in runs alone.
    if (this.#underWay === 0) return true;
    if (this.#underWay + count > maxUnderWay) return false;
    const { perSecond } = this;
    return perSecond === undefined || (this.#underWay + count) / perSecond <= (timeoutMs / 1_000) * SHARE_OF_TIMEOUT;
  }

  #refuse(): Refusal {
    this.#refused++;
    this.#refusals.add();
    return new Refusal('overloaded', 'The server has as many images under way as it can answer in time', {
      code: 'overloaded',
      retryAfterMs: this.retryAfterMs,
    });
  }
}

/** A count of events that forgets those of more than about a second ago. */
class RecentCount {
  readonly #now: () => number;
  #count = 0;
  #last = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  add(): void {
    this.#count = this.recent + 1;
    this.#last = this.#now();
  }

  get recent(): number {
    return this.#count * Math.exp((this.#last - this.#now()) / 1_000);
  }
}

/** How much busy time the rate looks back, in ms, and how many events it takes to know one. */
const MEMORY_MS = 5_000;
const LEAST_EVENTS = 8;

/**
 * Events a second of busy time: an idle server has no lower rate for it. Both the count and the time decay exponentially, so that old ones are
 * forgotten together.
 */
class BusyRate {
  readonly #now: () => number;
  #count = 0;
  #busyMs = 0;
  #seen = 0;
  #last = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Busy time begins. */
  start(): void {
    this.#last = this.#now();
  }

  add(): void {
    const now = this.#now();
    const passed = now - this.#last;
    const kept = Math.exp(-passed / MEMORY_MS);
    this.#count = this.#count * kept + 1;
    this.#busyMs = this.#busyMs * kept + passed;
    this.#last = now;
    this.#seen++;
  }

  get perSecond(): number | undefined {
    return this.#seen < LEAST_EVENTS || this.#busyMs === 0 ? undefined : (this.#count * 1_000) / this.#busyMs;
  }
}
