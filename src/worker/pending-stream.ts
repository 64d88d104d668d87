import { mpsc } from '../channels/index.js';
import type { CallOptions, ReplyStream } from './handle.js';
import type { StreamOperation } from './operation.js';
import type { OperationQueue } from './operation-queue.js';
import { PendingRequest, Phase, type RequestOwner } from './pending-request.js';
import type { StreamReply, StreamRequest } from './request.js';

const SENT = Promise.resolve(true);
const GONE = Promise.resolve(false);

/** A stream request; it is its own reply. */
export class PendingStream extends PendingRequest implements StreamRequest<unknown, unknown>, StreamReply<unknown> {
  /** What the consumer iterates. */
  readonly stream: ReplyStream<unknown> = new ChunkStream(this);
  readonly #sender: mpsc.Sender<unknown>;
  readonly #receiver: mpsc.Receiver<unknown>;
  // Set once; `isAbrupt` says that it goes before the chunks that were sent.
  #failure: { readonly error: unknown } | undefined;
  #isAbrupt = false;
  /** How many chunks may wait for the consumer. */
  readonly chunkCapacity: number;
  /** Called when the consumer takes a chunk: how a bridge gives a credit back. */
  onChunkTaken: (() => void) | undefined;

  constructor(
    owner: RequestOwner,
    queue: OperationQueue,
    input: unknown,
    calledAt: number,
    options: CallOptions | undefined,
  ) {
    super(owner, queue, input, calledAt, options);
    const { chunkCapacity } = queue.operation as StreamOperation<never, unknown>;
    const [sender, receiver] = mpsc.channel<unknown>(chunkCapacity);
    this.chunkCapacity = chunkCapacity;
    this.#sender = sender;
    this.#receiver = receiver;
  }

  get kind(): 'stream' {
    return 'stream';
  }

  get reply(): StreamReply<unknown> {
    return this;
  }

  // --- the loop's side

  send(chunk: unknown): Promise<boolean> {
    if (!this.take()) return GONE;
    if (this.#sender.capacity > 0) {
      this.#sender.trySend(chunk);
      return SENT;
    }
    return this.#sender.send(chunk).then(
      () => true,
      () => false,
    );
  }

  end(): boolean {
    if (!this.answer('succeeded')) return false;
    this.#sender.close();
    return true;
  }

  fail(error: unknown): boolean {
    if (!this.answer('failed')) return false;
    this.#failure = { error };
    this.#sender.close();
    return true;
  }

  // --- the consumer's side

  async nextChunk(): Promise<IteratorResult<unknown, void>> {
    if (!this.#isAbrupt) {
      const result = await this.#receiver.recv();
      if (!this.#isAbrupt && result.done !== true) {
        this.onChunkTaken?.();
        return result;
      }
    }
    const failure = this.#failure;
    this.#failure = undefined;
    this.#isAbrupt = true;
    if (failure !== undefined) throw failure.error;
    return { done: true, value: undefined };
  }

  async leave(): Promise<IteratorResult<unknown, void>> {
    if (this.phase !== Phase.ANSWERED) {
      this.answerAhead('cancelled', new DOMException('The consumer left the stream', 'AbortError'));
    }
    this.#failure = undefined;
    this.#isAbrupt = true;
    this.#receiver.close();
    return { done: true, value: undefined };
  }

  protected override deliverAhead(error: unknown): void {
    this.#failure = { error };
    this.#isAbrupt = true;
    // Wakes a consumer that waits for a chunk, and a generator that waits for room.
    this.#receiver.close();
    this.#sender.close();
  }
}

/** The consumer's iterator over the chunks of a request. */
class ChunkStream implements ReplyStream<unknown> {
  readonly #request: PendingStream;

  constructor(request: PendingStream) {
    this.#request = request;
  }

  next(): Promise<IteratorResult<unknown, void>> {
    return this.#request.nextChunk();
  }

  return(): Promise<IteratorResult<unknown, void>> {
    return this.#request.leave();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#request.leave();
  }
}
