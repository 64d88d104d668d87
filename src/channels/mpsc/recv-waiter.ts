import { pin } from '../pinned.js';
import { PromiseWaiter } from '../promise-waiter.js';

/** What a wait for one value gives. */
export type Received<T> = IteratorResult<T, undefined>;

/** Waits for one value. `owner` is the iterator that asked for it, if one did. */
export class RecvWaiter<T> extends PromiseWaiter<T, Received<T>> {
  readonly owner: object | null;

  constructor(owner: object | null) {
    super();
    this.owner = owner;
  }

  override deliver(value: T): void {
    this.resolve({ done: false, value });
  }

  override end(): void {
    this.resolve({ done: true, value: undefined });
  }
}

pin(new RecvWaiter(null));
