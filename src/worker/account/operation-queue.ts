import { mpsc } from '../../channels/index.js';
import { LinkedList } from '../../core/index.js';
import type { AnyOperation } from '../operation.js';
import type { Request } from '../request.js';

// Invariants:
// - `used` counts the requests that hold a place, `usedBytes` the bytes of those among them that are not answered.
// - The channel holds at most `used` requests, so a send into it never finds it full.
// - A request waits only while there is no room for the first of `waiting`: callers get in strictly in order.

/** One operation's queue: a bounded channel towards the loop, and the account of who may enter it. */
export class OperationQueue {
  readonly name: string;
  readonly operation: AnyOperation;
  readonly receiver: mpsc.Receiver<Request>;
  readonly waiting: LinkedList<Request> = new LinkedList();
  readonly maxItems: number;
  readonly maxBytes: number;
  used = 0;
  usedBytes = 0;
  /** How many requests were pushed that the stock loop has not taken: one may be on its way to a loop that waits for it, and not in the channel. */
  untaken = 0;
  readonly #sender: mpsc.Sender<Request>;

  constructor(name: string, operation: AnyOperation) {
    this.name = name;
    this.operation = operation;
    this.maxItems = operation.capacity.items;
    this.maxBytes = operation.capacity.bytes;
    [this.#sender, this.receiver] = mpsc.channel<Request>(this.maxItems);
  }

  /** Whether a request of so many bytes may enter now, if none waits before it. */
  hasRoom(bytes: number): boolean {
    return this.used < this.maxItems && this.usedBytes + bytes <= this.maxBytes;
  }

  /** Gives a request its place. */
  reserve(request: Request): void {
    request.hasPlace = true;
    this.used++;
    this.usedBytes += request.bytes;
  }

  /** Hands a request that has its place to the loop. */
  push(request: Request): void {
    this.#sender.trySend(request);
    this.untaken++;
  }

  /** Ends the channel, and drops what is left in it. */
  close(): void {
    this.#sender.close();
    while (this.receiver.tryRecv().state === 'ok');
  }

  /** Takes a request's place back, and the bytes it still counts for. */
  freePlace(request: Request): void {
    request.hasPlace = false;
    this.used--;
    this.freeBytes(request);
  }

  /** Takes the bytes back that a request counts for. */
  freeBytes(request: Request): void {
    this.usedBytes -= request.bytes;
    request.bytes = 0;
  }
}

/** The queues of a worker as a loop serves them: in rotation, after the last one served, so that saturated ones get equal shares. */
export class QueueTurns {
  readonly #queues: readonly OperationQueue[];
  #cursor = 0;
  #received: Request | undefined;

  constructor(queues: Iterable<OperationQueue>) {
    this.#queues = [...queues];
  }

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    if (this.#received !== undefined) return false;
    for (const { untaken } of this.#queues) if (untaken > 0) return false;
    return true;
  }

  /** Takes the next request, if any waits. */
  take(): Request | undefined {
    const first = this.#received;
    this.#received = undefined;
    if (first !== undefined) return first;
    const queues = this.#queues;
    for (let turn = 0; turn < queues.length; turn++) {
      if (this.#cursor >= queues.length) this.#cursor = 0;
      const queue = queues[this.#cursor++] as OperationQueue;
      if (queue.untaken === 0) continue;
      const next = queue.receiver.tryRecv();
      if (next.state !== 'ok') continue;
      queue.untaken--;
      return next.value;
    }
    return undefined;
  }

  /** A request was received by other means than `take()`: it is the next. There is one such request at most. */
  received(request: Request): void {
    this.served(request);
    (request.queue as OperationQueue).untaken--;
    this.#received = request;
  }

  /** A request of an operation is started: the turn is the next operation's. */
  served({ queue }: Request): void {
    this.#cursor = this.#queues.indexOf(queue as OperationQueue) + 1;
  }
}
