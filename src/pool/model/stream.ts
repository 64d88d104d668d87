import { type AbortListener, addAbortListener, removeAbortListener } from '../../core/index.js';
import type { ReplyStream } from '../../worker/index.js';
import type { Lease } from './runs.js';

/** What a stream is read from. */
export interface StreamSource {
  /** The caller's own signal. */
  readonly signal: AbortSignal | undefined;
  /** Asks for a place in a worker. */
  lease(signal: AbortSignal): Promise<unknown>;
  /** Gives the place back. */
  end(lease: Lease, outcome: 'succeeded' | 'failed' | 'cancelled', error: unknown): void;
}

const DONE = Object.freeze({ done: true, value: undefined }) as IteratorResult<unknown, void>;

/**
 * A stream's answer, read through the pool: it asks for a place when it is first read, holds it while the worker's stream is read, and gives it
 * back at the end, at a failure, or when its reader leaves, at whatever moment that is.
 */
export class PooledStream implements ReplyStream<unknown>, AbortListener {
  readonly #source: StreamSource;
  // Aborts for the caller's signal, and when the reader leaves while it waits for its place.
  readonly #given = new AbortController();
  #chunks: Promise<AsyncIterator<unknown, void>> | undefined;
  #reply: AsyncIterator<unknown, void> | undefined;
  #lease: Lease | undefined;
  #isOver = false;

  constructor(source: StreamSource) {
    this.#source = source;
  }

  async next(): Promise<IteratorResult<unknown, void>> {
    if (this.#isOver) return DONE;
    try {
      this.#chunks ??= this.#open();
      const result = await (await this.#chunks).next();
      if (result.done === true) this.#end('succeeded', undefined);
      return result;
    } catch (error) {
      // Its reader has left meanwhile, or was told of the failure before.
      if (this.#isOver) return DONE;
      this.#end('failed', error);
      throw error;
    }
  }

  async return(): Promise<IteratorResult<unknown, void>> {
    if (this.#isOver) return DONE;
    const left = new DOMException('The consumer left the stream', 'AbortError');
    void this.#reply?.return?.();
    this.#end('cancelled', left);
    this.#given.abort(left);
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** The caller's signal has aborted. */
  onAbort(reason: unknown): void {
    this.#given.abort(reason);
  }

  async #open(): Promise<AsyncIterator<unknown, void>> {
    const { signal } = this.#source;
    if (signal?.aborted) this.#given.abort(signal.reason);
    else if (signal !== undefined) addAbortListener(signal, this);
    const lease = (await this.#source.lease(this.#given.signal)) as Lease;
    const { job, slot, call } = lease;
    this.#lease = lease;
    const timeoutMs =
      call.deadline === Number.POSITIVE_INFINITY ? undefined : Math.max(0, call.deadline - job.runningSince);
    const chunks = slot.handle.call(job.operation.name, job.input as never, {
      // Aborted already where the reader has left: then the worker refuses.
      signal: this.#given.signal,
      timeoutMs,
      traceparent: call.traceparent,
    }) as unknown as AsyncIterable<unknown, void>;
    this.#reply = chunks[Symbol.asyncIterator]();
    return this.#reply;
  }

  #end(outcome: 'succeeded' | 'failed' | 'cancelled', error: unknown): void {
    this.#isOver = true;
    if (this.#source.signal !== undefined) removeAbortListener(this.#source.signal, this);
    if (this.#lease !== undefined) this.#source.end(this.#lease, outcome, error);
  }
}
