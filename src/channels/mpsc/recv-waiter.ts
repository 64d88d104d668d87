import { PromiseWaiter } from '../promise-waiter.js';

/** What a wait for one value gives. */
export type Received<T> = IteratorResult<T, undefined>;

/** One that may leave all its waits at once. */
export interface WaitOwner<T> {
  /** Those of its waits that have a record. */
  waits: Set<RecvWaiter<T>> | undefined;
}

/** Waits for one value. */
export class RecvWaiter<T> extends PromiseWaiter<T, Received<T>> {
  readonly #owner: WaitOwner<T> | null;

  constructor(owner: WaitOwner<T> | null) {
    super();
    this.#owner = owner;
    if (owner !== null) owner.waits = (owner.waits ?? new Set()).add(this);
  }

  override deliver(value: T): void {
    this.resolve({ done: false, value });
  }

  override end(): void {
    this.resolve({ done: true, value: undefined });
  }

  protected override resolve(result: Received<T> | Promise<never>): void {
    this.#owner?.waits?.delete(this);
    super.resolve(result);
  }
}
