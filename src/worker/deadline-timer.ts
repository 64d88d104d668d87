import type { Clock, ClockTimer } from '../core/index.js';

// Invariants:
// - `#heap` is a binary heap by `dueAt`; `heap[i].deadlineIndex === i`, and -1 for an entry that is not in it.
// - At most one clock timer is armed. While the heap is not empty it is armed for the earliest entry or earlier, never later.
// - A removal leaves the timer alone: that it fires for nothing once costs less than rearming for every call.

/** Something that is due at a certain time. */
export interface DeadlineEntry {
  /** When, in ms on the clock. */
  readonly dueAt: number;
  /** Where it is in the heap; -1 when it is not. Owned by the timer. */
  deadlineIndex: number;
  /** Called once, at `dueAt` or later. The entry is out of the heap then. */
  onDeadline(): void;
}

/** Any number of deadlines on one clock timer: adding and removing one is O(log n) and starts no host timer in the common case. */
export class DeadlineTimer {
  readonly #clock: Clock;
  readonly #heap: DeadlineEntry[] = [];
  #timer: ClockTimer | undefined;
  #armedFor: number = Number.POSITIVE_INFINITY;
  readonly #fire = (): void => this.#onTimer();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many entries wait. */
  get size(): number {
    return this.#heap.length;
  }

  /** Adds an entry. `now` is what the clock says, which the caller has at hand. */
  add(entry: DeadlineEntry, now: number): void {
    const heap = this.#heap;
    heap.push(entry);
    this.#siftUp(entry, heap.length - 1);
    if (entry.dueAt < this.#armedFor) this.#arm(now);
  }

  /** Removes an entry; one that is not in the heap is ignored. */
  remove(entry: DeadlineEntry): void {
    const index = entry.deadlineIndex;
    if (index < 0) return;
    entry.deadlineIndex = -1;
    const heap = this.#heap;
    const last = heap.pop() as DeadlineEntry;
    if (last === entry) return;
    const parent = heap[(index - 1) >> 1];
    if (index > 0 && (parent as DeadlineEntry).dueAt > last.dueAt) this.#siftUp(last, index);
    else this.#siftDown(last, index);
  }

  /** Stops the clock timer when nothing waits, so that none is left behind by a worker that is over. */
  trim(): void {
    if (this.#heap.length > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(now: number): void {
    this.#timer?.cancel();
    const dueAt = (this.#heap[0] as DeadlineEntry).dueAt;
    this.#armedFor = dueAt;
    this.#timer = this.#clock.setTimer(this.#fire, dueAt - now);
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.dueAt > now) break;
      this.remove(first);
      first.onDeadline();
    }
    const next = this.#heap[0];
    // A callback may have added an entry, and armed for it.
    if (next !== undefined && next.dueAt < this.#armedFor) this.#arm(now);
  }

  #siftUp(entry: DeadlineEntry, from: number): void {
    const heap = this.#heap;
    let index = from;
    while (index > 0) {
      const up = (index - 1) >> 1;
      const parent = heap[up] as DeadlineEntry;
      if (parent.dueAt <= entry.dueAt) break;
      heap[index] = parent;
      parent.deadlineIndex = index;
      index = up;
    }
    heap[index] = entry;
    entry.deadlineIndex = index;
  }

  #siftDown(entry: DeadlineEntry, from: number): void {
    const heap = this.#heap;
    const size = heap.length;
    let index = from;
    for (;;) {
      let down = 2 * index + 1;
      if (down >= size) break;
      if (down + 1 < size && (heap[down + 1] as DeadlineEntry).dueAt < (heap[down] as DeadlineEntry).dueAt) down++;
      const child = heap[down] as DeadlineEntry;
      if (child.dueAt >= entry.dueAt) break;
      heap[index] = child;
      child.deadlineIndex = index;
      index = down;
    }
    heap[index] = entry;
    entry.deadlineIndex = index;
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
