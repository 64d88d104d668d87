import type { WaitOptions } from '../abort.js';
import type { AnyEvent } from './turn.js';

/** The events of a selector, until no arm can win any more. Leaving it settles a `next()` that is pending, which has then consumed nothing. */
export class SelectorIterator<E extends AnyEvent> implements AsyncIterableIterator<E, undefined, undefined> {
  readonly #selector: { next(options: WaitOptions): Promise<E> };
  readonly #left = new AbortController();

  constructor(selector: { next(options: WaitOptions): Promise<E> }) {
    this.#selector = selector;
  }

  async next(): Promise<IteratorResult<E, undefined>> {
    const { signal } = this.#left;
    try {
      if (!signal.aborted) {
        const event = await this.#selector.next({ signal });
        if (event.arm !== null) return { done: false, value: event };
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    this.#left.abort();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#left.abort();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
