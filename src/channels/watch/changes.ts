import { type NOTHING, ParkingLot, park, type Watchable } from '../parking.js';

/** What the iterator of a watch receiver needs of it. */
interface Watched<T> {
  /** Whether there is something to see: true, false at the end, or not yet. */
  look(): boolean | typeof NOTHING;
  see(): T;
  readonly lot: ParkingLot;
}

/**
 * Changes as an async iterator. It looks at the value when its `next()` resumes and not when it is woken, so that several sends in one turn are one
 * change.
 */
export class Changes<T> implements AsyncIterableIterator<T, undefined, undefined>, AsyncDisposable, Watchable<boolean> {
  readonly #watched: Watched<T>;
  /** @internal */
  readonly lot: ParkingLot;
  #first: boolean;
  #ended = false;

  constructor(watched: Watched<T>, first: boolean) {
    this.#watched = watched;
    this.lot = new ParkingLot(watched.lot);
    this.#first = first;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      if (!(await park<boolean>(this, undefined))) return { done: true, value: undefined };
      // Another next() may have seen it in between.
      if (!this.#first && this.#watched.look() !== true) continue;
      this.#first = false;
      return { done: false, value: this.#watched.see() };
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#ended = true;
    this.lot.wakeAll();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** @internal */
  look(): boolean | typeof NOTHING {
    if (this.#ended) return false;
    return this.#first || this.#watched.look();
  }
}
