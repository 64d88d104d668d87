import { mpsc } from '../channels/index.js';
import { LinkedList } from '../core/index.js';
import type { AnyOperation } from './operation.js';
import type { PendingRequest } from './pending-request.js';

// Invariants:
// - `used` counts the requests that hold a place, `usedBytes` the bytes of those among them that are not answered.
// - The channel holds at most `used` requests, so a send into it never finds it full.
// - A request waits only while there is no room for the first of `waiting`: callers get in strictly in order.

/** One operation's queue: a bounded channel towards the loop, and the account of who may enter it. */
export class OperationQueue {
  readonly name: string;
  readonly operation: AnyOperation;
  readonly sender: mpsc.Sender<PendingRequest>;
  readonly receiver: mpsc.Receiver<PendingRequest>;
  readonly waiting: LinkedList<PendingRequest> = new LinkedList();
  readonly maxItems: number;
  readonly maxBytes: number;
  used = 0;
  usedBytes = 0;
  /** A loop that has room now takes a request by the hand, and answers true: it does not pass through the channel then. */
  handOver: ((request: PendingRequest, at: number | undefined) => boolean) | undefined = undefined;
  /** Told of each request that has entered the channel. */
  onEnter: (() => void) | undefined = undefined;

  constructor(name: string, operation: AnyOperation) {
    this.name = name;
    this.operation = operation;
    this.maxItems = operation.capacity.items;
    this.maxBytes = operation.capacity.bytes;
    const [sender, receiver] = mpsc.channel<PendingRequest>(this.maxItems);
    this.sender = sender;
    this.receiver = receiver;
  }

  /** Whether a request of so many bytes may enter now, if nobody waits before it. */
  hasRoom(bytes: number): boolean {
    return this.used < this.maxItems && this.usedBytes + bytes <= this.maxBytes;
  }

  /** Gives a request its place and hands it to the loop. `at` is the time, where it is known. */
  enter(request: PendingRequest, at?: number): void {
    request.hasPlace = true;
    this.used++;
    this.usedBytes += request.bytes;
    if (this.handOver?.(request, at)) return;
    request.keepTrace();
    this.sender.trySend(request);
    this.onEnter?.();
  }

  /** No loop comes any more: what is left in the channel, which is answered, gives its places back. */
  close(): void {
    this.sender.close();
    for (let left = this.receiver.tryRecv(); left.state === 'ok'; left = this.receiver.tryRecv()) {
      if (left.value.hasPlace) this.freePlace(left.value);
    }
  }

  /** Takes a request's place back, and the bytes it still counts for. */
  freePlace(request: PendingRequest): void {
    request.hasPlace = false;
    this.used--;
    this.freeBytes(request);
  }

  /** Takes the bytes back that a request counts for. */
  freeBytes(request: PendingRequest): void {
    this.usedBytes -= request.bytes;
    request.bytes = 0;
  }
}
