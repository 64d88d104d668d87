/** The entrance: checks options, loads the packages of the server when it starts, and hands on to the application. */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  fillOptions,
  nonNegativeIntegerUpTo,
  option,
  type OptionTable,
  requireMilliseconds,
  requireString,
  systemClock,
} from '../core/index.js';
import { MissingPackageError } from '../pool/index.js';
import type { ServeApplication } from './app.js';
import { requireServeOptions, type ServeOptions } from './options.js';
import type { ServePool } from './serve-pool.js';

const PACKAGES = ['hono', '@hono/node-server', '@fastify/busboy', 'valibot', '@valibot/to-json-schema'];

/** A pool behind HTTP, to be mounted in a server of one's own. Made by {@link createServeApp}. */
export interface ServeApp {
  /**
   * Answers a request, as `fetch` handlers of Hono, Next, Bun and Deno do.
   *
   * @param request The request; its path is that of a route, without a prefix.
   * @param env Node's own request and response, `{ incoming, outgoing }`, as Hono's Node server hands them over: bodies are then read from there.
   */
  readonly fetch: (request: Request, env?: unknown) => Promise<Response>;
  /** Answers a request of Node's own server: `createServer(app.listener)`. */
  readonly listener: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  /** Resolves once the packages of the server are loaded; rejects when one is missing. */
  readonly ready: Promise<void>;
  /** How many requests for work are being answered. */
  readonly underWay: number;
  /**
   * Loads the main model ahead of the first request, after which the routes of readiness say so.
   *
   * **Cancel safety:** takes no signal.
   */
  warm(): Promise<void>;
  /**
   * Refuses new work with 503, and resolves once every request that was let in is answered.
   *
   * **Cancel safety:** takes no signal.
   */
  drain(): Promise<void>;
  /** Ends what the application has started. The pool is left as it is. */
  close(): Promise<void>;
}

/** Options of {@link listen}. */
export interface ListenOptions extends ServeOptions {
  /** 7997 by default, as Infinity has it; 0 for one that is free. */
  readonly port?: number | undefined;
  /** The address to listen at; `127.0.0.1` by default, which other machines can't reach. */
  readonly host?: string | undefined;
  /** How long `close` waits for answers before it cuts connections, in ms; 10,000 by default. */
  readonly shutdownMs?: number | undefined;
}

/** A listening server. Made by {@link listen}. */
export interface ServeServer extends AsyncDisposable {
  /** Where it is: `http://127.0.0.1:7997`. */
  readonly url: string;
  readonly port: number;
  readonly app: ServeApp;
  /**
   * Takes no more connections, refuses new work with 503, answers what was let in, and resolves once every connection is closed; what is not
   * answered within `timeoutMs` is cut. The pool is left as it is.
   *
   * **Cancel safety:** takes no signal; calling it again answers with the same promise.
   */
  close(options?: { readonly timeoutMs?: number | undefined }): Promise<void>;
}

/**
 * Puts a pool behind HTTP, in the protocols of OpenAI, Infinity, Jina, vLLM, Text Embeddings Inference, Cohere, Voyage, Ollama, Immich and Weaviate.
 *
 * Needs the packages hono, @hono/node-server, @fastify/busboy, valibot and @valibot/to-json-schema, which are loaded now; where one is missing,
 * `ready` and every request reject with `MissingPackageError`.
 *
 * @param pool An image embedding pool. It stays the caller's, who closes it.
 * @param options See {@link ServeOptions}; unknown keys are refused.
 * @returns The application; its `fetch` is mounted in a server.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
 * const app = createServeApp(pool);
 * const answer = await app.fetch(new Request('http://localhost/v1/models'));
 * answer.status; // => 200
 * await app.close();
 * await pool.close();
 * ```
 */
export function createServeApp(pool: ServePool, options?: ServeOptions): ServeApp {
  const settings = requireServeOptions(options, 'unknown');
  let application: ServeApplication | undefined;
  const loaded = load(async () => {
    const app = await import('./app.js');
    application = new app.ServeApplication(pool, { ...settings, version: await packageVersion() });
    return application;
  });
  const ready = loaded.then(() => {});
  // Every request is answered with the failure, too.
  ready.catch(() => {});
  return {
    fetch: async (request, env) => await (await loaded).fetch(request, env),
    listener: (incoming, outgoing) => {
      loaded.then(
        (app) => app.listener(incoming, outgoing),
        () => outgoing.writeHead(500).end(),
      );
    },
    ready,
    get underWay() {
      return application?.underWay ?? 0;
    },
    warm: async () => await (await loaded).service.warm(),
    drain: async () => await (await loaded).drain(),
    close: async () => {
      const app = await loaded.catch(() => undefined);
      await app?.close();
    },
  };
}

const LISTEN_OPTIONS = {
  port: option(nonNegativeIntegerUpTo(65_535), 7_997),
  host: option<string>(requireString, '127.0.0.1'),
  shutdownMs: option<number>(requireMilliseconds, 10_000),
} satisfies OptionTable<Pick<ListenOptions, 'port' | 'host' | 'shutdownMs'>>;

const HEADERS_MS = 10_000;
const IDLE_CHECK_MS = 50;

/**
 * Serves a pool on a port, and loads its main model.
 *
 * **Cancel safety:** takes no signal.
 *
 * @param pool An image embedding pool. It stays the caller's, who closes it after the server.
 * @param options See {@link ListenOptions}.
 * @returns The server, once it listens. The model may still be loading: `/health` says `ready`.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @throws MissingPackageError When a package of the server is not installed.
 * @example
 * ```ts
 * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
 * const server = await listen(pool, { port: 0 });
 * (await fetch(`${server.url}/ping`)).status; // => 200
 * await server.close();
 * await pool.close();
 * ```
 */
export async function listen(pool: ServePool, options: ListenOptions = {}): Promise<ServeServer> {
  const { port, host, shutdownMs, ...serving } = options;
  const settings = fillOptions('Cannot listen', { port, host, shutdownMs }, LISTEN_OPTIONS);
  const app = createServeApp(pool, serving);
  await app.ready;
  const bodyTimeoutMs = serving.bodyTimeoutMs ?? 30_000;
  const server = createServer(
    // A body that is late is refused in words first.
    { headersTimeout: HEADERS_MS, requestTimeout: HEADERS_MS + bodyTimeoutMs + 5_000, keepAliveTimeout: 65_000 },
    app.listener,
  );
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(settings.port, settings.host, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (error) {
    await app.close();
    throw error;
  }
  // What fails to load is said by the first request, and by `/health`.
  app.warm().catch(() => {});
  const { address, port: listening, family } = server.address() as AddressInfo;
  let closed: Promise<void> | undefined;
  const close = (given?: { readonly timeoutMs?: number | undefined }): Promise<void> => {
    if (given?.timeoutMs !== undefined) requireMilliseconds('Cannot close server', 'timeoutMs', given.timeoutMs);
    closed ??= closeServer(server, app, given?.timeoutMs ?? settings.shutdownMs);
    return closed;
  };
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${listening}`,
    port: listening,
    app,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/**
 * Connections are closed as they fall idle. Order: the application refuses work before the port is closed, so that a kept connection is told 503 and
 * not cut.
 */
async function closeServer(server: Server, app: ServeApp, timeoutMs: number): Promise<void> {
  const drained = app.drain();
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  const late = systemClock.setTimer(() => server.closeAllConnections(), timeoutMs, { ref: true });
  try {
    server.closeIdleConnections();
    await closed;
    await drained;
  } finally {
    clearInterval(idle);
    late.cancel();
    await app.close();
  }
}

/** A package that is missing is told by name, with the command that installs it. */
async function load<T>(importAll: () => Promise<T>): Promise<T> {
  try {
    return await importAll();
  } catch (cause) {
    const name = missingPackage(cause);
    if (name === undefined) throw cause;
    throw new MissingPackageError(
      `Cannot serve: the package '${name}' must be installed (npm install ${PACKAGES.join(' ')})`,
      { cause },
    );
  }
}

function missingPackage(cause: unknown): string | undefined {
  if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'ERR_MODULE_NOT_FOUND') return undefined;
  const { message } = cause as Error;
  return PACKAGES.find((name) => message.includes(`'${name}'`) || message.includes(`/node_modules/${name}/`));
}

/** The package's version, from its own package.json. */
async function packageVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
