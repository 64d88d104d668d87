import type { OperationQueue } from './operation-queue.js';
import type { PendingRequest } from './pending-request.js';

/** The queues of a worker as a loop serves them: by turns, the one after the last that was served first, so that saturated ones get equal shares. */
export class QueueTurns {
  readonly #queues: readonly OperationQueue[];
  #cursor = 0;
  #putBack: PendingRequest | undefined;

  constructor(queues: Iterable<OperationQueue>) {
    this.#queues = [...queues];
  }

  /** Whether a request was put back, and comes before all others. */
  get hasPutBack(): boolean {
    return this.#putBack !== undefined;
  }

  /** Takes the next request, if any waits. */
  take(): PendingRequest | undefined {
    const first = this.#putBack;
    if (first !== undefined) {
      this.#putBack = undefined;
      return first;
    }
    const queues = this.#queues;
    for (let turn = 0; turn < queues.length; turn++) {
      if (this.#cursor >= queues.length) this.#cursor = 0;
      const queue = queues[this.#cursor++] as OperationQueue;
      if (queue.used === 0) continue;
      const next = queue.receiver.tryRecv();
      if (next.state === 'ok') return next.value;
    }
    return undefined;
  }

  /** A request that was taken can't be served yet: it is the next. There is one such request at most. */
  putBack(request: PendingRequest): void {
    this.#putBack = request;
  }

  /** A request of that queue was taken in another way. */
  served(queue: OperationQueue): void {
    this.#cursor = this.#queues.indexOf(queue) + 1;
  }
}
