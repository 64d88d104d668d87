import { type NOTHING, ParkingLot, park, type Watchable } from './parking.js';

/**
 * An async iterator over something that can be looked at. Leaving it early ends the iterator alone: the source stays open, and a `next()` that is
 * pending then settles without having taken anything.
 */
export class LookIterator<T>
  implements AsyncIterableIterator<T, undefined, undefined>, AsyncDisposable, Watchable<IteratorResult<T, undefined>>
{
  readonly #source: Watchable<IteratorResult<T, undefined>>;
  /** @internal */
  readonly lot: ParkingLot;
  #ended = false;

  constructor(source: Watchable<IteratorResult<T, undefined>>) {
    this.#source = source;
    this.lot = new ParkingLot(source.lot);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return park<IteratorResult<T, undefined>>(this, undefined);
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
  look(): IteratorResult<T, undefined> | typeof NOTHING {
    return this.#ended ? { done: true, value: undefined } : this.#source.look();
  }

  /** @internal */
  finish(found: IteratorResult<T, undefined>): IteratorResult<T, undefined> {
    return this.#source.finish === undefined || found.done ? found : this.#source.finish(found);
  }
}
