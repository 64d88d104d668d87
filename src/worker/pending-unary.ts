import type { CallOptions } from './handle.js';
import type { OperationQueue } from './operation-queue.js';
import { PendingRequest, type RequestOwner } from './pending-request.js';
import { noteTimeInModel } from './reached.js';
import type { Reply, UnaryRequest } from './request.js';

// One executor for all promises: it runs at once, so what it is given can be picked up right after.
let resolveLatest: (value: unknown) => void;
let rejectLatest: (error: unknown) => void;
function pickUp(resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
  resolveLatest = resolve;
  rejectLatest = reject;
}

/** A unary request; it is its own reply. */
export class PendingUnary extends PendingRequest implements UnaryRequest<unknown, unknown>, Reply<unknown> {
  /** What the caller awaits. */
  readonly promise: Promise<unknown>;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    owner: RequestOwner,
    queue: OperationQueue,
    input: unknown,
    calledAt: number,
    options: CallOptions | undefined,
  ) {
    super(owner, queue, input, calledAt, options);
    this.promise = new Promise(pickUp);
    this.#resolve = resolveLatest;
    this.#reject = rejectLatest;
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

  override expire(): void {
    noteTimeInModel(this.promise, this.msInModel);
    super.expire();
  }

  protected override deliverAhead(error: unknown): void {
    this.#reject(error);
  }
}
