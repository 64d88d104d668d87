import { mpsc } from '../channels/index.js';
import type { CallOptions, ReplyStream } from './handle.js';
import type { StreamOperation } from './operation.js';
import type { OperationQueue } from './operation-queue.js';
import { type Outcome, PendingRequest, Phase, type RequestOwner } from './pending-request.js';
import { noteTimeInModel } from './reached.js';
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
  /** Called once, when the model has ended or failed, or the call was given up: what was sent by then may be read later. */
  onAnswered: ((outcome: Outcome, error: unknown) => void) | undefined;
  /** Since when as many chunks as may wait for the consumer do: the model is held back. */
  #fullSince: number | undefined;
  #heldBackMs = 0;
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
      if (this.#sender.capacity === 0) this.#fullSince = this.owner.clock.now();
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
    this.#tell('succeeded', undefined);
    return true;
  }

  fail(error: unknown): boolean {
    if (!this.answer('failed')) return false;
    this.#failure = { error };
    this.#sender.close();
    this.#tell('failed', error);
    return true;
  }

  /** How long the consumer has held the model back, in ms. */
  get heldBackMs(): number {
    return this.#heldBackMs + (this.#fullSince === undefined ? 0 : this.owner.clock.now() - this.#fullSince);
  }

  override expire(): void {
    noteTimeInModel(this.stream, Math.max(0, this.msInModel - this.heldBackMs));
    super.expire();
  }

  override answerAhead(outcome: Outcome, error: unknown): void {
    if (this.phase === Phase.ANSWERED) return;
    super.answerAhead(outcome, error);
    this.#tell(outcome, error);
  }

  #tell(outcome: Outcome, error: unknown): void {
    const { onAnswered } = this;
    this.onAnswered = undefined;
    onAnswered?.(outcome, error);
  }

  // --- the consumer's side

  async nextChunk(): Promise<IteratorResult<unknown, void>> {
    if (!this.#isAbrupt) {
      const result = await this.#receiver.recv();
      if (!this.#isAbrupt && result.done !== true) {
        this.#noteTaken();
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

  #noteTaken(): void {
    if (this.#fullSince === undefined) return;
    this.#heldBackMs = this.heldBackMs;
    // A chunk that waited for room may have taken it already.
    this.#fullSince = this.#sender.capacity === 0 ? this.owner.clock.now() : undefined;
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

/** How a stream's call stands with its worker, which may have ended it long before its consumer has read it. */
export interface StreamCall {
  /** How long the consumer has held the model back, in ms. */
  readonly heldBackMs: number;
  /** Called once, when the model has ended or failed, or the call was given up. */
  onAnswered: ((outcome: Outcome, error: unknown) => void) | undefined;
}

/**
 * The call behind a stream that a handle of this package answered with; undefined for any other.
 *
 * @internal
 */
export function streamCallOf(stream: object): StreamCall | undefined {
  return stream instanceof ChunkStream ? stream.call : undefined;
}

/** The consumer's iterator over the chunks of a request. */
class ChunkStream implements ReplyStream<unknown> {
  readonly #request: PendingStream;

  constructor(request: PendingStream) {
    this.#request = request;
  }

  /** @internal */
  get call(): StreamCall {
    return this.#request;
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
