import { PromiseWaiter } from '../promise-waiter.js';

/** What a wait for one value gives. */
export type Received<T> = IteratorResult<T, undefined>;

/** Hands out what was gathered. */
export interface Servable {
  serve(): void;
}

/** Waits for one value. `owner` is the iterator that asked for it, if one did. */
export class RecvWaiter<T> extends PromiseWaiter<T, Received<T>> {
  readonly owner: object | null;
  readonly #chan: Servable;

  constructor(chan: Servable, owner: object | null) {
    super();
    this.#chan = chan;
    this.owner = owner;
  }

  override deliver(value: T): void {
    this.resolve({ done: false, value });
  }

  override end(): void {
    this.resolve({ done: true, value: undefined });
  }

  // A value that was sent before the signal fired was meant for this wait.
  override onAbort(reason: unknown): void {
    this.#chan.serve();
    super.onAbort(reason);
  }
}
