import type { OperationQueue } from './operation-queue.js';
import { PendingRequest, type RequestOwner, type SubmitOptions } from './pending-request.js';
import type { Reply, UnaryRequest } from './request.js';

/** A unary request; it is its own reply. */
export class PendingUnary extends PendingRequest implements UnaryRequest<unknown, unknown>, Reply<unknown> {
  /** What the caller awaits. */
  readonly promise: Promise<unknown>;
  #resolve!: (value: unknown) => void;
  #reject!: (error: unknown) => void;

  constructor(
    owner: RequestOwner,
    queue: OperationQueue,
    input: unknown,
    calledAt: number,
    options: SubmitOptions | undefined,
  ) {
    super(owner, queue, input, calledAt, options);
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get kind(): 'unary' {
    return 'unary';
  }

  get reply(): Reply<unknown> {
    return this;
  }

  send(value: unknown): boolean {
    if (!this.answer('succeeded')) return false;
    this.#resolve(value);
    return true;
  }

  fail(error: unknown): boolean {
    if (!this.answer('failed')) return false;
    this.#reject(error);
    return true;
  }

  protected override deliverAhead(error: unknown): void {
    this.#reject(error);
  }
}
