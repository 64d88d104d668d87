import type { Priority } from '../../pool/internal.js';
import type { Assembly } from '../wire/transfers.js';

/** What a `Call` says, checked. */
export interface CallRequest {
  readonly id: number;
  readonly operation: string;
  readonly priority: Priority;
  /** On the host's clock; `Infinity` without a deadline. */
  readonly dueAt: number;
  readonly traceparent: string | undefined;
  /** How many chunks its consumer has room for. */
  readonly credits: number;
  /** The class of the most urgent call that its caller has waiting behind it. */
  readonly waitsAs: Priority | undefined;
}

/** A call that a host has. */
export class HostCall {
  readonly request: CallRequest;
  readonly assembly: Assembly;
  /** Its input, once it is here as a whole. */
  body: Uint8Array | undefined;
  /** Whether it has a place of the host's. */
  isAdmitted = false;
  hasBegun = false;
  /** Whether its final message is written. */
  isFinal = false;
  /** Whether its caller has given it up, and why. */
  gone: { readonly reason: unknown } | undefined;
  credits: number;
  /** When a part of its input last came, in ms on the host's clock. */
  movedAt: number;
  /** Ends a stream's wait for a credit. */
  wake: () => void = () => {};
  readonly #controller = new AbortController();

  constructor(request: CallRequest, assembly: Assembly, now: number) {
    this.movedAt = now;
    this.request = request;
    this.assembly = assembly;
    this.credits = request.credits;
  }

  get id(): number {
    return this.request.id;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    if (this.gone !== undefined) return;
    this.gone = { reason };
    this.#controller.abort(reason);
    this.wake();
  }
}
