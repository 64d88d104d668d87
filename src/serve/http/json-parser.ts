/**
 * Parses JSON bodies: small ones where they are, large ones in a thread, one at a time in the order they came. The first large body starts the
 * thread. A body moves to it and its pictures move back; neither is copied on the event loop.
 */
import { randomBytes } from 'node:crypto';
import { operation, spawnWorker, type UnaryOperation, type WorkerHandle } from '../../worker/index.js';
import { isLive, packageUrl } from '../../worker/internal.js';
import { type JsonReply, type ParsedJson, parseBody, placeOf } from './json-value.js';
import { Refusal } from './refusal.js';

/** Bodies from this size on are parsed in the thread. */
export const LARGE_BYTES = 1_000_000;
/** Bodies that may wait; the budget of all bodies bounds them earlier. */
const CAPACITY = 65_536;

/** What the thread can do. */
export type JsonOperations = { readonly parse: UnaryOperation<Uint8Array, JsonReply> };

/** What the thread is started with. */
export interface JsonThreadOptions {
  readonly word: string;
}

/** Parses the bodies of one server. */
export class JsonParser {
  readonly #word: string = randomBytes(16).toString('hex');
  #thread: WorkerHandle<JsonOperations> | undefined;

  /**
   * Parses a body. The memory of a large one belongs to the thread from then on.
   *
   * @throws Refusal When it is no JSON, or has too many values.
   */
  async parse(body: Uint8Array, signal: AbortSignal): Promise<ParsedJson> {
    const reply = body.byteLength < LARGE_BYTES ? parseBody(body, this.#word) : await this.#parseInThread(body, signal);
    if (reply.kind === 'parsed') return reply;
    const [kind, code] = reply.isComplex
      ? (['too-large', 'body_too_complex'] as const)
      : (['invalid', 'invalid_json'] as const);
    throw new Refusal(kind, `Cannot parse body: ${reply.message}`, { code });
  }

  /** The bytes that a placeholder stands for, and whether it was a data URL; undefined for any other string. */
  pictureOf(
    text: string,
    { pictures }: ParsedJson,
  ): { readonly bytes: Uint8Array; readonly isDataUrl: boolean } | undefined {
    const place = placeOf(text, this.#word);
    if (place === undefined) return undefined;
    const bytes = pictures[place.index];
    return bytes === undefined ? undefined : { bytes, isDataUrl: place.isDataUrl };
  }

  /** Ends the thread, once it has parsed what it has begun. */
  async close(): Promise<void> {
    await this.#thread?.close();
  }

  #parseInThread(body: Uint8Array, signal: AbortSignal): Promise<JsonReply> {
    // One that crashed more often than it may is over for good.
    if (this.#thread === undefined || !isLive(this.#thread.state.current)) this.#thread = this.#start();
    return this.#thread.call('parse', body, { signal, timeoutMs: Number.POSITIVE_INFINITY });
  }

  #start(): WorkerHandle<JsonOperations> {
    return spawnWorker<JsonOperations>({
      host: 'thread',
      module: packageUrl('serve/http/json-module.js'),
      operations: { parse: operation<Uint8Array, JsonReply>({ capacity: CAPACITY }) },
      options: { word: this.#word } satisfies JsonThreadOptions,
      concurrency: 1,
      transfer: { inputs: true },
      idleTimeoutMs: Number.POSITIVE_INFINITY,
    });
  }
}
