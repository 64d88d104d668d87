/**
 * Reads a request's body within a cap and within the budget of all bodies, from Node's request or from a stream of the web.
 *
 * A body of declared length takes its whole share of the budget before its first byte is read: bodies that all grew beside each other could fill the budget
 * with halves, and none would ever be whole.
 */
import type { IncomingMessage } from 'node:http';
import type { ByteShare } from './byte-budget.js';
import { Refusal } from './refusal.js';

/** Where a body comes from. */
export type BodySource = IncomingMessage | ReadableStream<Uint8Array> | null;

/** What a body is read within. */
export interface BodyLimits {
  /** The most bytes. */
  readonly maxBytes: number;
  readonly share: ByteShare;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  /** How long reading it may take, in ms. */
  readonly timeoutMs: number;
  /** When a refused request may come again, in ms. */
  readonly retryAfterMs: () => number;
}

const FIRST_BYTES = 65_536;
const GRACE_MS = 5_000;
const PACE_CHECK_MS = 1_000;
const LEAST_BYTES_PER_SECOND = 10_000;

/** Reads a body to its end. */
export async function readBody(
  source: BodySource,
  declared: number | undefined,
  limits: BodyLimits,
): Promise<Uint8Array> {
  const { signal, timeoutMs } = limits;
  signal.throwIfAborted();
  const body = new GrowingBody(declared, limits);
  if (source === null) return body.finish();
  // A timer of its own for each body: `AbortSignal.timeout` would keep one for every answered request.
  const end = new AbortController();
  const onLeave = (): void => end.abort(signal.reason);
  signal.addEventListener('abort', onLeave);
  const stopWatch = watchPace(body, timeoutMs, (message) =>
    end.abort(new Refusal('too-slow', `Cannot read body: ${message}`, { code: 'body_timeout' })),
  );
  try {
    await ('getReader' in source ? readWeb(source, body, end.signal) : readNode(source, body, end.signal));
  } finally {
    stopWatch();
    signal.removeEventListener('abort', onLeave);
  }
  return body.finish();
}

/**
 * Watches that a body arrives in time, and at a pace: one that drips would hold its share of the budget for the whole time.
 *
 * @returns Ends the watch.
 */
function watchPace(body: GrowingBody, timeoutMs: number, onLate: (message: string) => void): () => void {
  const started = performance.now();
  const check = (): void => {
    const passed = performance.now() - started;
    if (passed >= timeoutMs - 1) onLate(`it was not there within ${timeoutMs} ms`);
    else if (passed >= GRACE_MS && body.length / (passed / 1_000) < LEAST_BYTES_PER_SECOND) {
      onLate(`it came slower than ${LEAST_BYTES_PER_SECOND} bytes a second`);
    } else timer = setTimeout(check, Math.min(PACE_CHECK_MS, timeoutMs - passed));
  };
  let timer = setTimeout(check, Math.min(GRACE_MS, timeoutMs));
  return () => clearTimeout(timer);
}

function readNode(source: IncomingMessage, body: GrowingBody, end: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown): void => {
      source.off('data', onData).off('end', settle).off('error', settle).off('close', onClose);
      end.removeEventListener('abort', onAbort);
      if (error === undefined) resolve();
      else {
        // What still comes is read and dropped, so that the answer reaches a client that is still sending.
        source.on('error', () => {}).resume();
        reject(error);
      }
    };
    const onData = (chunk: Uint8Array): void => {
      try {
        body.append(chunk);
      } catch (error) {
        settle(error);
      }
    };
    const onClose = (): void =>
      settle(source.complete ? undefined : new Refusal('gone', 'Cannot read body: it was cut'));
    const onAbort = (): void => settle(end.reason);
    source.on('data', onData).on('end', settle).on('error', settle).on('close', onClose);
    end.addEventListener('abort', onAbort);
    if (end.aborted) onAbort();
  });
}

async function readWeb(source: ReadableStream<Uint8Array>, body: GrowingBody, end: AbortSignal): Promise<void> {
  const reader = source.getReader();
  const onAbort = (): void => void reader.cancel(end.reason).catch(() => {});
  end.addEventListener('abort', onAbort);
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) body.append(part.value);
    end.throwIfAborted();
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    end.removeEventListener('abort', onAbort);
  }
}

/** A body as it comes in: one buffer of the declared length, so that nothing is copied again when it is whole. */
class GrowingBody {
  readonly #limits: BodyLimits;
  #buffer: Uint8Array;
  #length = 0;

  constructor(declared: number | undefined, limits: BodyLimits) {
    this.#limits = limits;
    this.#require(declared ?? 0);
    this.#buffer = new Uint8Array(Buffer.allocUnsafeSlow(declared ?? FIRST_BYTES).buffer);
  }

  /** How many bytes are there. */
  get length(): number {
    return this.#length;
  }

  append(chunk: Uint8Array): void {
    const length = this.#length + chunk.byteLength;
    this.#require(length);
    if (length > this.#buffer.byteLength) {
      const size = Math.min(Math.max(length, 2 * this.#buffer.byteLength), Math.max(length, this.#limits.maxBytes));
      const larger = new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.#length);
    this.#length = length;
  }

  finish(): Uint8Array {
    return this.#length === this.#buffer.byteLength ? this.#buffer : this.#buffer.subarray(0, this.#length);
  }

  #require(bytes: number): void {
    const { maxBytes, share, retryAfterMs } = this.#limits;
    if (bytes > maxBytes) {
      throw new Refusal('too-large', `Cannot read body: at most ${maxBytes} bytes are allowed`, {
        code: 'body_too_large',
      });
    }
    if (share.growTo(bytes)) return;
    throw new Refusal('overloaded', 'Cannot read body: too many bytes of other requests are waiting', {
      code: 'body_budget_full',
      retryAfterMs: retryAfterMs(),
    });
  }
}
