import { type ReplyStream, type RequestOutcome, type StreamCall, streamCallOf } from '../../worker/index.js';
import type { Call } from './job.js';
import type { Lease, Runs } from './runs.js';

/** What a stream is read from. */
export interface StreamSource {
  /** Asks for a place in a worker. Tells of the call that waits for it, unless it is refused. */
  lease(onCall: (call: Call) => void): Promise<unknown>;
  /** Gives up a call that waits. */
  giveUp(call: Call, reason: unknown): void;
  /** Where the place is given back. */
  readonly leases: Pick<Runs, 'handedOver' | 'endLease'>;
}

const DONE = Object.freeze({ done: true, value: undefined }) as IteratorResult<unknown, void>;

/**
 * A stream's answer, read through the pool: it asks for a place when it is first read and holds it until the worker's call is over: the model has ended or
 * failed, the deadline has passed, or the reader has left. It does not matter when its reader reads what came until then.
 */
export class PooledStream implements ReplyStream<unknown> {
  readonly #source: StreamSource;
  #chunks: Promise<AsyncIterator<unknown, void>> | undefined;
  #reply: AsyncIterator<unknown, void> | undefined;
  #call: Call | undefined;
  #lease: Lease | undefined;
  #chunkStream: object | undefined;
  #workerCall: StreamCall | undefined;
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
    const left = leftTheStream();
    void this.#reply?.return?.();
    this.#end('cancelled', left);
    // Settled already, unless it still waits for its place.
    if (this.#call !== undefined) this.#source.giveUp(this.#call, left);
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async #open(): Promise<AsyncIterator<unknown, void>> {
    const lease = (await this.#source.lease((call) => {
      this.#call = call;
    })) as Lease;
    const { job, slot, call } = lease;
    // Its reader has left between the grant of the place and here.
    if (this.#isOver) throw leftTheStream();
    this.#lease = lease;
    const timeoutMs =
      call.deadline === Number.POSITIVE_INFINITY ? undefined : Math.max(0, call.deadline - job.runningSince);
    const chunks = slot.handle.call(job.operation.name, job.input as never, {
      signal: call.signal,
      timeoutMs,
      traceparent: call.traceparent,
    }) as unknown as AsyncIterable<unknown, void>;
    this.#chunkStream = chunks;
    this.#workerCall = streamCallOf(chunks);
    if (this.#workerCall !== undefined) {
      // The worker's account of it is the pool's.
      this.#source.leases.handedOver(lease);
      this.#workerCall.onAnswered = (outcome, error) => this.#giveBack(outcome, error);
    }
    this.#reply = chunks[Symbol.asyncIterator]();
    return this.#reply;
  }

  #end(outcome: 'succeeded' | 'failed' | 'cancelled', error: unknown): void {
    this.#isOver = true;
    this.#giveBack(outcome, error);
  }

  #giveBack(outcome: RequestOutcome, error: unknown): void {
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease === undefined) return;
    const heldBackMs = this.#workerCall?.heldBackMs ?? 0;
    this.#source.leases.endLease(lease, outcome, error, heldBackMs, this.#chunkStream);
  }
}

function leftTheStream(): DOMException {
  return new DOMException('The consumer left the stream', 'AbortError');
}
