/**
 * Fetches one image. Every hop is the same: check the URL, resolve its host once, check every address, dial one of the checked addresses, and
 * read the header. No second lookup happens, so a name that changes its answer in between changes nothing.
 */
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  type AbortListener,
  addAbortListener,
  describeReceived,
  isError,
  isMillraceError,
  removeAbortListener,
} from '../../core/index.js';
import { ImageCorruptError, tooManyBytes, UrlFetchError, UrlForbiddenError } from '../image-errors.js';
import { type Decoder, decodersOf } from './content-encoding.js';
import { connectAny, type Dial, HostResolver } from './host-resolver.js';
import type { UrlLimits } from './limits.js';
import {
  type AddressRule,
  addressRule,
  bareHost,
  describeUrl,
  type HostAddress,
  requireFetchable,
  requireNotDenied,
  requirePublic,
} from './url-policy.js';

/** How a host name becomes addresses; `onBegin` is called when that begins, where it had to wait. */
export type ResolveHost = (hostname: string, onBegin?: () => void) => Promise<readonly HostAddress[]>;

/** What accompanies one fetch. */
export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  readonly resolveHost?: ResolveHost | undefined;
  /** Which addresses may be dialled; what the limits say by default. */
  readonly isAllowed?: AddressRule | undefined;
  /** How connections are begun. */
  readonly dial?: Dial | undefined;
}

/** The same, filled. */
interface FetchContext {
  readonly signal: AbortSignal | undefined;
  readonly resolveHost: ResolveHost;
  readonly isAllowed: AddressRule;
  readonly dial: Dial | undefined;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

const resolver = new HostResolver();
const resolveBySystem: ResolveHost = (hostname, onBegin) => resolver.resolve(hostname, onBegin);

/** Reads the body behind an http(s) URL within the limits. */
export async function bytesFromUrl(input: unknown, limits: UrlLimits, options: FetchOptions = {}): Promise<Uint8Array> {
  if (typeof input !== 'string' && !(input instanceof URL)) {
    throw new TypeError(`Cannot fetch URL: url must be a string, received ${describeReceived(input)}`);
  }
  const context: FetchContext = {
    signal: options.signal,
    resolveHost: options.resolveHost ?? resolveBySystem,
    isAllowed: options.isAllowed ?? addressRule(limits),
    dial: options.dial,
  };
  let url = requireFetchable(String(input), limits, context.isAllowed);
  for (let redirects = 0; ; redirects++) {
    const answer = await openAnswer(url, limits, context);
    const { response } = answer;
    const status = response.statusCode ?? 0;
    try {
      // 203: the same, by way of a proxy that changed something.
      if (status === 200 || status === 203) return await readBody(url, response, limits, options.signal);
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
      url = requireFetchable(asText(location), limits, context.isAllowed, url);
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
    const addresses = await span.race(resolveAddresses(url, context.resolveHost, () => span.restart()));
    for (const { address } of addresses) requireNotDenied(url, address, limits);
    requirePublic(url, addresses, context.isAllowed);
    const socket = await openSocket(url, addresses, limits, context, span.signal);
    return await span.race(sendRequest(url, socket, span.signal));
  } finally {
    span.end();
  }
}

async function resolveAddresses(
  url: URL,
  resolveHost: ResolveHost,
  onBegin: () => void,
): Promise<readonly HostAddress[]> {
  const host = bareHost(url);
  const family = isIP(host);
  if (family !== 0) return [{ address: host, family: family as 4 | 6 }];
  let addresses: readonly HostAddress[];
  try {
    addresses = await resolveHost(host, onBegin);
  } catch (cause) {
    throw new UrlFetchError(`Cannot fetch ${describeUrl(url)}: the host name could not be resolved`, { cause });
  }
  if (addresses.length > 0) return addresses;
  throw new UrlFetchError(`Cannot fetch ${describeUrl(url)}: the host name has no address`);
}

/** A connection of this fetch's own, to one of the addresses that were checked, whatever a resolver would say by now. */
async function openSocket(
  url: URL,
  addresses: readonly HostAddress[],
  limits: UrlLimits,
  { isAllowed, dial }: FetchContext,
  signal: AbortSignal,
): Promise<Socket> {
  const isTls = url.protocol === 'https:';
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
  let socket: Socket;
  try {
    socket = await connectAny(addresses, port, signal, dial);
  } catch (error) {
    throw signal.aborted ? signal.reason : asFetchError(url, error);
  }
  try {
    const address = socket.remoteAddress ?? '';
    requireNotDenied(url, address, limits);
    if (!isAllowed(address)) {
      throw new UrlForbiddenError(`Cannot fetch ${describeUrl(url)}: it was led to ${address}`);
    }
  } catch (error) {
    socket.destroy();
    throw error;
  }
  if (!isTls) return socket;
  const host = bareHost(url);
  const servername = isIP(host) === 0 ? host : '';
  const secure = connectTls({ socket, host, servername, ALPNProtocols: ['http/1.1'], rejectUnauthorized: true });
  return secure.on('error', () => {});
}

function sendRequest(url: URL, socket: Socket, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = requestHttp({
      method: 'GET',
      host: bareHost(url),
      path: `${url.pathname}${url.search}`,
      createConnection: () => socket,
      signal,
      headers: {
        host: url.host,
        accept: 'image/jpeg,image/png,image/webp,image/gif,image/avif,image/tiff,image/*;q=0.8',
        'accept-encoding': 'identity',
        'user-agent': 'millrace',
        connection: 'close',
      },
    });
    const close = (): void => {
      request.destroy();
      socket.destroy();
    };
    const refuseSwitch = (): void => {
      close();
      reject(new UrlFetchError(`Cannot fetch ${describeUrl(url)}: expected status 200, received 101`));
    };
    request.once('upgrade', refuseSwitch);
    request.on('information', ({ statusCode }) => {
      if (statusCode === 101) refuseSwitch();
    });
    request.once('response', (response) => {
      resolve({
        response,
        close() {
          response.destroy();
          close();
        },
      });
    });
    request.on('error', (error) => reject(asFetchError(url, error)));
    request.end();
  });
}

/** A header's bytes, which Node gives as latin1, as the UTF-8 that servers mostly mean. */
function asText(header: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(header, 'latin1'));
  } catch {
    return header;
  }
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
  const decoders: readonly Decoder[] | undefined = decodersOf(response.headers['content-encoding']);
  if (decoders === undefined) {
    throw new UrlFetchError(`Cannot fetch ${what}: it was compressed more often than an image is`);
  }
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
  const count: Decoder = async function* (source) {
    let bytes = 0;
    for await (const chunk of source) {
      bytes += chunk.byteLength;
      if (bytes > limits.maxBytes) throw tooManyBytes(what, bytes, limits.maxBytes);
      yield chunk;
    }
  };
  try {
    let source: AsyncIterable<Uint8Array> = response;
    for (const decode of decoders) source = decode(count(source));
    await span.race(collect(source));
  } catch (error) {
    throw span.signal.aborted ? span.signal.reason : asFetchError(url, error);
  } finally {
    span.end();
  }
  if (decoded === 0) throw new ImageCorruptError(`Cannot read ${what}: expected an image, the body is empty`);
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks, decoded);
}

function timedOut(url: URL, what: string, ms: number): UrlFetchError {
  return new UrlFetchError(`Cannot fetch ${describeUrl(url)}: ${what} within ${ms} ms`);
}

function asFetchError(url: URL, error: unknown): unknown {
  if (isMillraceError(error)) return error;
  const code = (error as { code?: unknown } | null)?.code;
  const why = typeof code === 'string' ? code : isError(error) ? error.message : 'the connection failed';
  return new UrlFetchError(`Cannot fetch ${describeUrl(url)}: ${why}`, { cause: error });
}

/** A span of work that a caller's signal or a timeout ends, with one signal for both. */
class Span {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #timeoutMs: number;
  readonly #makeError: () => Error;
  #timer: NodeJS.Timeout;
  readonly #listener: AbortListener = { onAbort: (reason) => this.#controller.abort(reason) };

  constructor(outer: AbortSignal | undefined, timeoutMs: number, makeError: () => Error) {
    outer?.throwIfAborted();
    this.#outer = outer;
    if (outer !== undefined) addAbortListener(outer, this.#listener);
    this.#timeoutMs = Math.min(timeoutMs, 2 ** 31 - 1);
    this.#makeError = makeError;
    this.#timer = this.#start();
  }

  #start(): NodeJS.Timeout {
    return setTimeout(() => this.#controller.abort(this.#makeError()), this.#timeoutMs);
  }

  /** Counts the time from now: what was before was no work. */
  restart(): void {
    if (this.#controller.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = this.#start();
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
