/** A request as handlers see it, whichever way it came in. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { randomUUID } from 'node:crypto';
import type { ByteShare } from './byte-budget.js';
import { type BodySource, readBody } from './body.js';
import { Refusal } from './refusal.js';

/** What Node hands over beside the `Request` of the web. */
export interface NodeBindings {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/** How bodies are read. */
export interface BodyRules {
  readonly maxBodyBytes: number;
  readonly bodyTimeoutMs: number;
  readonly retryAfterMs: () => number;
}

/** The client has left, and reads no answer. */
export class ClientGoneError extends Error {}

const ID = /^[\w.:-]{1,128}$/;
const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}$/;

/** One request. */
export class ServeRequest {
  /** The client's own `x-request-id`, where it is a sound one. */
  readonly id: string;
  readonly method: string;
  /** Aborted with a {@link ClientGoneError} when the client leaves before its answer is written. */
  readonly signal: AbortSignal;
  readonly #web: Request;
  readonly #node: NodeBindings | undefined;
  readonly #share: ByteShare;
  readonly #rules: BodyRules;

  constructor(web: Request, node: NodeBindings | undefined, share: ByteShare, rules: BodyRules) {
    this.#web = web;
    this.#node = node;
    this.#share = share;
    this.#rules = rules;
    this.method = web.method;
    const id = this.header('x-request-id');
    this.id = id !== undefined && ID.test(id) ? id : randomUUID();
    this.signal = node === undefined ? web.signal : leaveSignal(node.outgoing);
  }

  /** A header by its name in lower case. */
  header(name: string): string | undefined {
    if (this.#node === undefined) return this.#web.headers.get(name) ?? undefined;
    const value = this.#node.incoming.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** The media type of the body in lower case, without parameters; empty without one. */
  get mediaType(): string {
    return (this.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  }

  /** The W3C `traceparent`, where it is a sound one. */
  get traceparent(): string | undefined {
    const value = this.header('traceparent');
    return value !== undefined && TRACEPARENT.test(value) ? value : undefined;
  }

  get query(): URLSearchParams {
    return new URL(this.#web.url).searchParams;
  }

  /** What follows a prefix in the path, decoded; as it came where it can't be. */
  pathAfter(prefix: string): string {
    const rest = new URL(this.#web.url).pathname.slice(prefix.length);
    try {
      return decodeURIComponent(rest);
    } catch {
      return rest;
    }
  }

  /** Reads the body to its end, within the cap and the budget; the budget's share is held until the request is over. */
  async readBody(): Promise<Uint8Array> {
    const encoding = this.header('content-encoding') ?? 'identity';
    if (encoding !== 'identity') {
      throw new Refusal(
        'unsupported',
        `Cannot read body: it must not be compressed, received ${encoding.slice(0, 40)}`,
      );
    }
    const { maxBodyBytes, bodyTimeoutMs, retryAfterMs } = this.#rules;
    return await readBody(this.#source, this.#declaredBytes, {
      maxBytes: maxBodyBytes,
      timeoutMs: bodyTimeoutMs,
      share: this.#share,
      signal: this.signal,
      retryAfterMs,
    });
  }

  /**
   * Node's request where it is still untouched: its bytes come without the detour through a stream of the web. A server around this one that has
   * copied the `Request` has bound the bytes to its stream.
   */
  get #source(): BodySource {
    const incoming = this.#node?.incoming;
    const isFree = incoming !== undefined && !incoming.readableDidRead && incoming.readableFlowing === null;
    return isFree ? incoming : this.#web.body;
  }

  get #declaredBytes(): number | undefined {
    const text = this.header('content-length');
    return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  }
}

function leaveSignal(outgoing: ServerResponse): AbortSignal {
  const controller = new AbortController();
  const leave = (): void => {
    if (!outgoing.writableFinished) controller.abort(new ClientGoneError('The client has left'));
  };
  if (outgoing.destroyed) leave();
  else outgoing.once('close', leave);
  return controller.signal;
}
