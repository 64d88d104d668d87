/**
 * Fetches one image. Every hop is the same: check the URL, resolve its host once, check every address, dial one of the checked addresses, and
 * read the header. No second lookup happens, so a name that changes its answer in between changes nothing.
 */
import { lookup } from 'node:dns/promises';
import { type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import {
  type AbortListener,
  addAbortListener,
  describeReceived,
  isMillraceError,
  removeAbortListener,
} from '../../core/index.js';
import { ImageCorruptError, UrlFetchError, UrlForbiddenError } from '../image-errors.js';
import { tooManyBytes } from './bytes-source.js';
import type { UrlLimits } from './limits.js';
import {
  type AddressRule,
  addressRule,
  bareHost,
  describeUrl,
  type HostAddress,
  requireFetchable,
  requirePublic,
} from './url-policy.js';

/** How a host name becomes addresses. */
export type ResolveHost = (hostname: string) => Promise<readonly HostAddress[]>;

/** What accompanies one fetch. */
export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  readonly resolveHost?: ResolveHost | undefined;
  /** Which addresses may be dialled; what the limits say by default. */
  readonly isAllowed?: AddressRule | undefined;
}

/** The same, filled. */
interface FetchContext {
  readonly signal: AbortSignal | undefined;
  readonly resolveHost: ResolveHost;
  readonly isAllowed: AddressRule;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

const resolveBySystem: ResolveHost = async (hostname) =>
  (await lookup(hostname, { all: true })) as readonly HostAddress[];

/** Reads the body behind an http(s) URL within the limits. */
export async function bytesFromUrl(input: unknown, limits: UrlLimits, options: FetchOptions = {}): Promise<Uint8Array> {
  if (typeof input !== 'string' && !(input instanceof URL)) {
    throw new TypeError(`Cannot fetch URL: url must be a string, received ${describeReceived(input)}`);
  }
  const context: FetchContext = {
    signal: options.signal,
    resolveHost: options.resolveHost ?? resolveBySystem,
    isAllowed: options.isAllowed ?? addressRule(limits),
  };
  let url = requireFetchable(String(input), limits, context.isAllowed);
  for (let redirects = 0; ; redirects++) {
    const answer = await openAnswer(url, limits, context);
    const { response } = answer;
    const status = response.statusCode ?? 0;
    try {
      if (status === 200) return await readBody(url, response, limits, options.signal);
      if (!REDIRECTS.has(status)) {
        throw new UrlFetchError(`Cannot fetch ${describeUrl(url)}: expected status 200, received ${status}`);
      }
      if (redirects >= limits.maxRedirects) {
        throw new UrlFetchError(
          `Cannot fetch ${describeUrl(url)}: at most ${limits.maxRedirects} redirects are followed`,
        );
      }
      const { location } = response.headers;
      if (location === undefined) {
        throw new UrlFetchError(`Cannot fetch ${describeUrl(url)}: the redirect names no location`);
      }
      url = requireFetchable(location, limits, context.isAllowed, url);
    } finally {
      answer.close();
    }
  }
}

interface Answer {
  readonly response: IncomingMessage;
  close(): void;
}

/** One hop: from a checked URL to the header of the answer. */
async function openAnswer(url: URL, limits: UrlLimits, context: FetchContext): Promise<Answer> {
  const span = new Span(context.signal, limits.connectTimeoutMs, () =>
    timedOut(url, 'no answer', limits.connectTimeoutMs),
  );
  try {
    const addresses = await span.race(resolveAddresses(url, context.resolveHost));
    requirePublic(url, addresses, context.isAllowed);
    return await span.race(sendRequest(url, addresses, context.isAllowed, span.signal));
  } finally {
    span.end();
  }
}

async function resolveAddresses(url: URL, resolveHost: ResolveHost): Promise<readonly HostAddress[]> {
  const host = bareHost(url);
  const family = isIP(host);
  if (family !== 0) return [{ address: host, family: family as 4 | 6 }];
  let addresses: readonly HostAddress[];
  try {
    addresses = await resolveHost(host);
  } catch (cause) {
    throw new UrlFetchError(`Cannot fetch ${describeUrl(url)}: the host name could not be resolved`, { cause });
  }
  if (addresses.length > 0) return addresses;
  throw new UrlFetchError(`Cannot fetch ${describeUrl(url)}: the host name has no address`);
}

function sendRequest(
  url: URL,
  addresses: readonly HostAddress[],
  isAllowed: AddressRule,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // The addresses that were checked, whatever a resolver would say by now.
    const answerChecked: LookupFunction = (_hostname, wanted, callback) => {
      const first = addresses[0] as HostAddress;
      if (wanted.all === true) callback(null, [...addresses]);
      else callback(null, first.address, first.family);
    };
    const requestOptions: RequestOptions = {
      method: 'GET',
      host: bareHost(url),
      port: url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      // A connection of its own: none is shared with a fetch that was checked under other limits.
      agent: false,
      lookup: answerChecked,
      signal,
      headers: {
        host: url.host,
        accept: 'image/jpeg,image/png,image/webp,image/gif,image/avif,image/tiff,image/*;q=0.8',
        'accept-encoding': 'identity',
        'user-agent': 'millrace',
      },
    };
    const request =
      url.protocol === 'https:'
        ? requestHttps({ ...requestOptions, rejectUnauthorized: true })
        : requestHttp(requestOptions);
    request.on('socket', (socket) => {
      socket.once('connect', () => {
        const address = socket.remoteAddress ?? '';
        if (isAllowed(address)) return;
        request.destroy(new UrlForbiddenError(`Cannot fetch ${describeUrl(url)}: it was led to ${address}`));
      });
    });
    request.once('response', (response) => {
      resolve({
        response,
        close() {
          response.destroy();
          request.destroy();
        },
      });
    });
    request.on('error', (error) => reject(asFetchError(url, error)));
    request.end();
  });
}

async function readBody(
  url: URL,
  response: IncomingMessage,
  limits: UrlLimits,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const what = describeUrl(url);
  const announced = Number(response.headers['content-length'] ?? 0);
  if (announced > limits.maxBytes) throw tooManyBytes(what, announced, limits.maxBytes);
  const decompressor = decompressorFor(url, response.headers['content-encoding']);
  const span = new Span(signal, limits.bodyTimeoutMs, () =>
    timedOut(url, 'the body was not complete', limits.bodyTimeoutMs),
  );
  const chunks: Uint8Array[] = [];
  let decoded = 0;
  const collect = async (source: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const chunk of source) {
      decoded += chunk.byteLength;
      if (decoded > limits.maxBytes) throw tooManyBytes(what, decoded, limits.maxBytes);
      chunks.push(chunk);
    }
  };
  let sent = 0;
  const count = async function* (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      sent += chunk.byteLength;
      if (sent > limits.maxBytes) throw tooManyBytes(what, sent, limits.maxBytes);
      yield chunk;
    }
  };
  try {
    const options = { signal: span.signal };
    if (decompressor === undefined) await pipeline(response, collect, options);
    else await pipeline(response, count, decompressor, collect, options);
  } catch (error) {
    throw span.signal.aborted ? span.signal.reason : asFetchError(url, error);
  } finally {
    span.end();
  }
  if (decoded === 0) throw new ImageCorruptError(`Cannot read ${what}: expected an image, the body is empty`);
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks, decoded);
}

function decompressorFor(url: URL, encoding: string | undefined): Duplex | undefined {
  switch (encoding?.trim().toLowerCase()) {
    case undefined:
    case '':
    case 'identity':
      return undefined;
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'deflate':
      return createInflate();
    case 'br':
      return createBrotliDecompress();
    default:
      throw new UrlFetchError(`Cannot fetch ${describeUrl(url)}: its content-encoding is not known`);
  }
}

function timedOut(url: URL, what: string, ms: number): UrlFetchError {
  return new UrlFetchError(`Cannot fetch ${describeUrl(url)}: ${what} within ${ms} ms`);
}

function asFetchError(url: URL, error: unknown): unknown {
  if (isMillraceError(error)) return error;
  const code = (error as { code?: unknown } | null)?.code;
  const why = typeof code === 'string' ? code : error instanceof Error ? error.message : 'the connection failed';
  return new UrlFetchError(`Cannot fetch ${describeUrl(url)}: ${why}`, { cause: error });
}

/** A span of work that a caller's signal or a timeout ends, with one signal for both. */
class Span {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #listener: AbortListener = { onAbort: (reason) => this.#controller.abort(reason) };

  constructor(outer: AbortSignal | undefined, timeoutMs: number, makeError: () => Error) {
    outer?.throwIfAborted();
    this.#outer = outer;
    if (outer !== undefined) addAbortListener(outer, this.#listener);
    this.#timer = setTimeout(() => this.#controller.abort(makeError()), Math.min(timeoutMs, 2 ** 31 - 1));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Settles as the promise does, or rejects with the reason of the signal if that comes first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.#controller;
    let stop: (() => void) | undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      stop = () => reject(signal.reason);
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
    try {
      return await Promise.race([promise, aborted]);
    } finally {
      signal.removeEventListener('abort', stop as () => void);
    }
  }

  end(): void {
    clearTimeout(this.#timer);
    if (this.#outer !== undefined) removeAbortListener(this.#outer, this.#listener);
  }
}
