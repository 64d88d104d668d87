import type { WorkerCore } from '../worker-core.js';
import type { WorkerCrashedError } from '../worker-errors.js';
import type { HeldCall } from './host-client.js';

/** The calls of hosts that died: each is kept for the next host, or answered. */
export class SecondChances {
  readonly #core: WorkerCore;
  readonly #retries: number;
  #kept: HeldCall[] = [];

  constructor(core: WorkerCore, retries: number) {
    this.#core = core;
    this.#retries = retries;
  }

  /** Takes over what a dead host held; what can't be run again is answered with `error`. */
  sort(held: readonly HeldCall[], error: WorkerCrashedError): void {
    const now = this.#core.clock.now();
    for (const each of held) {
      const { request } = each;
      const mayRunAgain =
        !request.isClosed &&
        request.queue.operation.idempotent &&
        each.chunks === 0 &&
        each.attempts <= this.#retries &&
        (request.deadline === undefined || request.deadline > now);
      if (mayRunAgain) this.#kept.push(each);
      else this.#fail(each, error);
    }
  }

  /** Hands out what is kept, for the next host. */
  take(): HeldCall[] {
    this.dropAnswered();
    return this.#kept.splice(0);
  }

  /** Forgets calls that were given up while they waited for the next host. */
  dropAnswered(): void {
    const left: HeldCall[] = [];
    for (const each of this.#kept) {
      if (each.request.isClosed) this.#core.leaveModel(each.request, false, undefined);
      else left.push(each);
    }
    this.#kept = left;
  }

  /** No host comes after: what is kept, and what the last one held, is answered. */
  giveUp(held: readonly HeldCall[], error: unknown): void {
    for (const each of [...held, ...this.#kept.splice(0)]) this.#fail(each, error);
  }

  #fail(held: HeldCall, error: unknown): void {
    this.#core.leaveModel(held.request, true, error);
    if (!held.request.isClosed) held.request.reply.fail(error);
  }
}
