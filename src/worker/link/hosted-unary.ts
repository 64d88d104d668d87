import { PendingRequest } from '../pending-request.js';
import type { Reply, UnaryRequest } from '../request.js';

/** How a host answers the calls it was sent. */
export interface WayBack {
  /** A call's method has ended. `isInTime` is false when it was answered over its head before. */
  onEnd(call: HostedUnary, isInTime: boolean, value: unknown, failure: { readonly error: unknown } | undefined): void;
  /** A call was given up, or is overdue, before its method began: it will not begin any more. */
  onDropped(call: HostedUnary): void;
}

/**
 * A unary call from the parent, as the loop beside the model sees it. It is its own reply, over the link: there is no promise between the
 * model's and the caller's.
 */
export class HostedUnary extends PendingRequest implements UnaryRequest<unknown, unknown>, Reply<unknown> {
  readonly id: number;
  /** Whether the model's method has it; until then the queue may still drop it. */
  hasEntered = false;
  isFinal = false;
  readonly #back: WayBack;

  constructor(id: number, back: WayBack, ...request: ConstructorParameters<typeof PendingRequest>) {
    super(...request);
    this.id = id;
    this.#back = back;
  }

  get kind(): 'unary' {
    return 'unary';
  }

  get reply(): Reply<unknown> {
    return this;
  }

  /** The hosted model is given the call itself, with the input in it. */
  override peekInput(): HostedUnary {
    return this;
  }

  /** What the caller sent. */
  get payload(): unknown {
    return super.peekInput();
  }

  send(value: unknown): boolean {
    const isInTime = this.answer('succeeded');
    this.#back.onEnd(this, isInTime, value, undefined);
    return isInTime;
  }

  fail(error: unknown): boolean {
    const isInTime = this.answer('failed');
    this.#back.onEnd(this, isInTime, undefined, { error });
    return isInTime;
  }

  protected override deliverAhead(): void {
    if (!this.hasEntered) this.#back.onDropped(this);
  }
}
