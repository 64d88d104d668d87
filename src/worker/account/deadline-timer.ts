import type { Clock, ClockTimer } from '../../core/index.js';
import { inNeutralContext } from '../trace.js';

// Invariants:
// - `#heap` is a binary heap by `dueAt`. It holds every pending entry, and at most as many withdrawn ones besides (and 64).
// - At most one clock timer is armed. While an entry is pending it is armed for the earliest or earlier, never later.
// - The clock timer holds the process while an entry is pending, and only then: a caller that waits for an answer with a deadline gets one, even when
//   nothing else is going on.
// - A removal leaves timer and heap alone: most calls are answered long before their deadline, and in the order they were made, which is the
//   worst for a heap. That the timer fires for nothing now and then costs less, and so does sweeping many withdrawn entries at once.

const SWEEP_AT = 64;

/** Something that is due at a certain time. */
export interface DeadlineEntry {
  /** When, in ms on the clock. */
  readonly dueAt: number;
  /** Whether it waits. Owned by the timer. */
  isPending: boolean;
  /** Called once, at `dueAt` or later. The entry does not wait any more then. */
  onDeadline(): void;
}

/** Any number of deadlines on one clock timer. For deadlines in the order of their calls both adding and removing are O(1), amortised. */
export class DeadlineTimer {
  readonly #clock: Clock;
  #heap: DeadlineEntry[] = [];
  #withdrawn = 0;
  #timer: ClockTimer | undefined;
  #armedFor: number = Number.POSITIVE_INFINITY;
  readonly #fire = (): void => this.#onTimer();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many entries wait. */
  get size(): number {
    return this.#heap.length - this.#withdrawn;
  }

  /** Adds an entry. `now` is what the clock says, which the caller has at hand. */
  add(entry: DeadlineEntry, now: number): void {
    entry.isPending = true;
    this.#heap.push(entry);
    this.#siftUp(entry, this.#heap.length - 1);
    if (entry.dueAt < this.#armedFor) this.#arm(now);
    else if (this.size === 1) this.#timer?.hold?.(true);
  }

  /** Removes an entry; one that does not wait is ignored. */
  remove(entry: DeadlineEntry): void {
    if (!entry.isPending) return;
    entry.isPending = false;
    this.#withdrawn++;
    if (this.size === 0) this.#timer?.hold?.(false);
    if (this.#withdrawn > SWEEP_AT && this.#withdrawn * 2 > this.#heap.length) this.#sweep();
  }

  /** Stops the clock timer when nothing waits, so that none is left behind by a worker that is over. */
  trim(): void {
    if (this.size > 0) return;
    this.#sweep();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(now: number): void {
    this.#timer?.cancel();
    const dueAt = (this.#heap[0] as DeadlineEntry).dueAt;
    this.#armedFor = dueAt;
    const options = { ref: this.size > 0 };
    this.#timer = inNeutralContext(() => this.#clock.setTimer(this.#fire, dueAt - now, options));
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || (first.isPending && first.dueAt > now)) break;
      this.#shift();
      if (first.isPending) {
        first.isPending = false;
        first.onDeadline();
      } else {
        this.#withdrawn--;
      }
    }
    const next = this.#heap[0];
    // A callback may have added an entry, and armed for it.
    if (next !== undefined && next.dueAt < this.#armedFor) this.#arm(now);
  }

  /** Drops what was withdrawn. Sorted entries are a heap. */
  #sweep(): void {
    this.#heap = this.#heap.filter((entry) => entry.isPending).sort((one, other) => one.dueAt - other.dueAt);
    this.#withdrawn = 0;
  }

  #shift(): void {
    const last = this.#heap.pop() as DeadlineEntry;
    if (this.#heap.length > 0) this.#siftDown(last);
  }

  #siftUp(entry: DeadlineEntry, from: number): void {
    const heap = this.#heap;
    let index = from;
    while (index > 0) {
      const up = (index - 1) >> 1;
      const parent = heap[up] as DeadlineEntry;
      if (parent.dueAt <= entry.dueAt) break;
      heap[index] = parent;
      index = up;
    }
    heap[index] = entry;
  }

  #siftDown(entry: DeadlineEntry): void {
    const heap = this.#heap;
    const size = heap.length;
    let index = 0;
    for (;;) {
      let down = 2 * index + 1;
      if (down >= size) break;
      if (down + 1 < size && (heap[down + 1] as DeadlineEntry).dueAt < (heap[down] as DeadlineEntry).dueAt) down++;
      const child = heap[down] as DeadlineEntry;
      if (child.dueAt >= entry.dueAt) break;
      heap[index] = child;
      index = down;
    }
    heap[index] = entry;
  }
}

const timers = new WeakMap<Clock, DeadlineTimer>();

/** The one deadline timer of a clock, shared by all workers on it. */
export function deadlineTimerOf(clock: Clock): DeadlineTimer {
  let timer = timers.get(clock);
  if (timer === undefined) {
    timer = new DeadlineTimer(clock);
    timers.set(clock, timer);
  }
  return timer;
}
