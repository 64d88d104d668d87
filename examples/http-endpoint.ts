/**
 * An HTTP endpoint with a pool: `POST /embed` takes the bytes of an image and answers with its embedding.
 *
 * `npx millrace serve`, or `listen(pool)` of millrace/serve, is such a server, for the clients of OpenAI, Cohere, Immich and others. This file is for
 * a service with routes and answers of its own: it shows what a bare pool needs around it, with nothing but node:http.
 *
 * - Back-pressure: at most MAX_REQUESTS are under way at once, their bodies included. A further one gets 429 and `Retry-After` at once.
 * - When a client disconnects, its request is aborted, and does not run if it still waits.
 * - Uploads are untrusted: their size is limited while they stream in, and the workers decode them.
 * - `GET /health` for a load balancer, `GET /metrics` for Prometheus (with the package prom-client). SIGTERM finishes what is running.
 *
 *     PORT=8080 npm run example examples/http-endpoint.ts
 *     curl --data-binary @examples/photos/cat-1.jpg http://127.0.0.1:8080/embed
 *
 * In a project that has millrace, onnxruntime-node and sharp: `PORT=8080 npx tsx http-endpoint.ts`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isMillraceError } from 'millrace';
import { Semaphore } from 'millrace/channels';
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import { BreakerOpenError, closeOnSignal, PoolOverloadedError } from 'millrace/pool';

const { PORT = '8080', HOST = '127.0.0.1', MAX_REQUESTS = '64', WORKERS = '2' } = process.env;
const MAX_BODY_BYTES = 20_000_000;
const TIMEOUT_MS = 10_000;

const pool = createImageEmbeddingPool({
  workers: { max: Number(WORKERS) },
  timeoutMs: TIMEOUT_MS,
  // Refuses a call that can't be answered in time at once, and not at its deadline.
  refuseEarly: true,
  limits: { maxBytes: MAX_BODY_BYTES },
});
const places = new Semaphore(Number(MAX_REQUESTS));

/** A failure with the status and message for the client. */
class HttpError extends Error {
  readonly status: number;
  readonly retryAfterMs: number | undefined;

  constructor(status: number, message: string, retryAfterMs?: number) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new HttpError(413, `the body must be at most ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (size === 0) throw new HttpError(400, 'the body must be an image');
  return Buffer.concat(chunks);
}

/** How long until a place is likely to be free: the measured duration of a request, or a second at first. */
function retryAfterMs(): number {
  const means = Object.values(pool.health().models).map(({ latency }) => latency.meanMs ?? 0);
  return Math.max(1_000, ...means);
}

async function embed(request: IncomingMessage, response: ServerResponse): Promise<void> {
  // Before the body is read, so that a refused request uses no memory.
  if (places.availablePermits === 0) throw new HttpError(429, 'all places are taken', retryAfterMs());
  const place = places.tryAcquire();
  // 'close' without an answer: the client has disconnected.
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('the client has gone away')));
  try {
    const body = await readBody(request);
    const embedding = await pool.embedImageBytes(body, { signal: gone.signal });
    sendJson(response, 200, { dimension: embedding.length, embedding: Array.from(embedding) });
  } finally {
    place.release();
  }
}

function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof PoolOverloadedError) return new HttpError(429, 'too many requests', error.retryAfterMs);
  if (error instanceof BreakerOpenError) return new HttpError(503, 'the model is failing', error.retryAfterMs);
  if (isMillraceError(error, 'ERR_DEADLINE_EXCEEDED')) return new HttpError(504, 'no answer in time');
  if (isMillraceError(error, 'ERR_POOL_CLOSED')) return new HttpError(503, 'shutting down', 1_000);
  if (isMillraceError(error) && error.fault === 'caller') return new HttpError(422, `${error.code}: ${error.message}`);
  // Internal errors go to the log, not to the client.
  console.error(error);
  return new HttpError(500, 'internal error');
}

function sendJson(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(`${JSON.stringify(body)}\n`);
}

function fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.destroyed || response.headersSent) return;
  const { status, message, retryAfterMs } = toHttpError(error);
  const headers: Record<string, string> = {};
  if (retryAfterMs !== undefined) headers['retry-after'] = String(Math.ceil(retryAfterMs / 1000));
  // After a body that was not read to its end, the connection can't carry another request.
  if (!request.complete) headers.connection = 'close';
  sendJson(response, status, { error: message }, headers);
}

// A client that sends its body slowly holds a place for at most this long.
const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
  // Not `new URL`, which throws for requests such as `GET //`.
  const route = `${request.method} ${request.url?.split('?', 1)[0]}`;
  const answer = async (): Promise<void> => {
    switch (route) {
      case 'POST /embed':
        return embed(request, response);
      case 'GET /health': {
        const { status } = pool.health();
        return sendJson(response, status === 'unhealthy' ? 503 : 200, { status });
      }
      case 'GET /metrics':
        response.setHeader('content-type', 'text/plain; version=0.0.4');
        response.end(await pool.metrics());
        return;
      default:
        throw new HttpError(404, `no such route: ${route}`);
    }
  };
  answer().catch((error: unknown) => fail(request, response, error));
});

// The server first: the pool can then still answer the requests that the server has accepted.
closeOnSignal([
  server,
  pool,
  () => {
    console.log('stopped');
    process.exit(0);
  },
]);

server.listen(Number(PORT), HOST, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on http://${address}:${port}`);
});
