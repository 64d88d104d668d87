import type { ReplyStream } from '../../worker/index.js';
import type { CallSettings, Dispatcher, Lease } from './dispatcher.js';

/**
 * A stream's answer, read through the pool: it asks for a place when it is first read, holds it while the worker's stream is read, and gives it
 * back at the end, at a failure, or when its reader leaves.
 */
export class PooledStream implements ReplyStream<unknown> {
  readonly #chunks: AsyncGenerator<unknown, void, void>;

  constructor(dispatcher: Dispatcher, submit: () => Promise<unknown>, options: CallSettings | undefined) {
    this.#chunks = read(dispatcher, submit, options);
  }

  next(): Promise<IteratorResult<unknown, void>> {
    return this.#chunks.next();
  }

  return(): Promise<IteratorResult<unknown, void>> {
    return this.#chunks.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return();
  }
}

async function* read(
  dispatcher: Dispatcher,
  submit: () => Promise<unknown>,
  options: CallSettings | undefined,
): AsyncGenerator<unknown, void, void> {
  const lease = (await submit()) as Lease;
  const { job, slot, call } = lease;
  let outcome: 'succeeded' | 'failed' | 'cancelled' = 'cancelled';
  let failure: unknown;
  try {
    const timeoutMs = call.deadline === Number.POSITIVE_INFINITY ? undefined : call.deadline - job.runningSince;
    const { signal } = call;
    const reply = slot.handle.call(job.operation.name, job.input as never, {
      signal,
      timeoutMs,
      traceparent: options?.traceparent,
    }) as unknown as AsyncIterable<unknown>;
    yield* reply;
    outcome = 'succeeded';
  } catch (error) {
    outcome = 'failed';
    failure = error;
    throw error;
  } finally {
    dispatcher.endLease(lease, outcome, failure);
  }
}
