import type { ReplyStream } from './handle.js';

/** The stream of a call that was refused: it fails when it is first read, and is over then. */
export class RefusedStream implements ReplyStream<never> {
  #failure: { readonly error: unknown } | undefined;

  constructor(error: unknown) {
    this.#failure = { error };
  }

  async next(): Promise<IteratorResult<never, void>> {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure.error;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<never, void>> {
    this.#failure = undefined;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
