import { mpsc } from '../channels/index.js';
import type { StreamOperation } from './operation.js';
import { type Outcome, Request, type RequestFields, type RequestListener } from './request.js';

/**
 * The answer to a stream call: an async iterator of chunks. The consumer's pace is the model's: at most the operation's `chunkCapacity` chunks
 * wait. Leaving it early (`break`, `return()`, `await using`) gives the request up, and the model's generator is returned.
 */
export interface ReplyStream<Chunk> extends AsyncIterableIterator<Chunk, void, void>, AsyncDisposable {
  next(): Promise<IteratorResult<Chunk, void>>;
  return(): Promise<IteratorResult<Chunk, void>>;
  [Symbol.asyncIterator](): this;
  [Symbol.asyncDispose](): Promise<void>;
}

const SENT = Promise.resolve(true);
const GONE = Promise.resolve(false);

/**
 * A request whose answer is a stream: its chunks wait in a bounded channel, from which the consumer reads.
 */
export class StreamingRequest extends Request {
  /** What the consumer iterates. */
  readonly stream: ReplyStream<unknown> = new ChunkStream(this);
  /** How many chunks may wait for the consumer. */
  readonly chunkCapacity: number;
  /** Called when the consumer takes a chunk: a link gives a credit back. */
  onChunkTaken: (() => void) | undefined;
  readonly #sender: mpsc.Sender<unknown>;
  readonly #receiver: mpsc.Receiver<unknown>;
  // Set once; `isAbrupt` says that it goes before the chunks that were sent.
  #failure: { readonly error: unknown } | undefined;
  #isAbrupt = false;
  /** Since when as many chunks as may wait for the consumer do: the model is held back. */
  #fullSince: number | undefined;
  #heldBackMs = 0;

  constructor(given: RequestFields, listener?: RequestListener) {
    super(given, listener);
    this.chunkCapacity = (given.declaration as StreamOperation<never, unknown>).chunkCapacity;
    [this.#sender, this.#receiver] = mpsc.channel<unknown>(this.chunkCapacity);
  }

  /** Sends a chunk, once there is room for it. False when it was answered before. */
  override send(chunk: unknown): Promise<boolean> {
    if (!this.take()) return GONE;
    this.chunks++;
    if (this.#sender.capacity > 0) {
      this.#sender.trySend(chunk);
      if (this.#sender.capacity === 0) this.#fullSince = this.clock.now();
      return SENT;
    }
    return this.#sender.send(chunk).then(
      () => true,
      () => false,
    );
  }

  /** Ends the stream; the consumer still reads what was sent. */
  end(): boolean {
    return this.answer('succeeded', undefined);
  }

  /** How long the consumer has held the model back, in ms. */
  get heldBackMs(): number {
    return this.#heldBackMs + (this.#fullSince === undefined ? 0 : this.clock.now() - this.#fullSince);
  }

  override get msInModel(): number {
    return Math.max(0, super.msInModel - this.heldBackMs);
  }

  protected override deliver(outcome: Outcome, result: unknown, isAbrupt: boolean): void {
    if (outcome !== 'succeeded') this.#failure = { error: result };
    if (isAbrupt) {
      this.#isAbrupt = true;
      // Wakes a consumer that waits for a chunk, and a generator that waits for room.
      this.#receiver.close();
    }
    this.#sender.close();
    super.deliver(outcome, result, isAbrupt);
  }

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

  async leave(): Promise<IteratorResult<unknown, void>> {
    this.giveUp('cancelled', new DOMException('The consumer left the stream', 'AbortError'));
    this.#failure = undefined;
    this.#isAbrupt = true;
    this.#receiver.close();
    return { done: true, value: undefined };
  }

  #noteTaken(): void {
    if (this.#fullSince === undefined) return;
    this.#heldBackMs = this.heldBackMs;
    // A chunk that waited for room may have taken it already.
    this.#fullSince = this.#sender.capacity === 0 ? this.clock.now() : undefined;
  }
}

/** The consumer's iterator over the chunks of a request. */
class ChunkStream implements ReplyStream<unknown> {
  readonly #request: StreamingRequest;

  constructor(request: StreamingRequest) {
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

const DONE = Object.freeze({ done: true, value: undefined }) as IteratorResult<unknown, void>;

/** A stream that is opened when it is first read. Where that throws, the first read fails, and the stream is over. */
export class LazyStream implements ReplyStream<unknown> {
  #open: (() => ReplyStream<unknown>) | undefined;
  #chunks: ReplyStream<unknown> | undefined;

  constructor(open: () => ReplyStream<unknown>) {
    this.#open = open;
  }

  async next(): Promise<IteratorResult<unknown, void>> {
    const open = this.#open;
    this.#open = undefined;
    if (open !== undefined) this.#chunks = open();
    return this.#chunks === undefined ? DONE : await this.#chunks.next();
  }

  async return(): Promise<IteratorResult<unknown, void>> {
    this.#open = undefined;
    await this.#chunks?.return();
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
