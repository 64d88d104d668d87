import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serve as serveHono } from '@hono/node-server';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../src/image-embedding/index.js';
import { createServeApp, type ServeApp } from '../../src/serve/index.js';
import { until } from '../support/until.js';
import { exchange } from './support/exchange.js';
import { dataUrl, photo, post, read } from './support/serving.js';

let pool: ImageEmbeddingPool;
let app: ServeApp;
let cat: Buffer;
let expected: number[];
const MAX_BODY = 2_500_000;

beforeAll(async () => {
  pool = createImageEmbeddingPool({ workers: 1 });
  app = createServeApp(pool, { maxBodyBytes: MAX_BODY, maxBodiesBytes: 3_000_000, bodyTimeoutMs: 1_000 });
  cat = await photo('cat-1');
  expected = Array.from(await pool.embedImageBytes(cat));
});
afterAll(async () => {
  await app.close();
  await pool.close();
});

/** A body of JSON above the size from which it is parsed in a thread. */
const large = (): string => JSON.stringify({ input: dataUrl(cat), padding: 'p '.repeat(600_000) });

/** What every way of mounting must do. */
async function checkServer(url: string): Promise<void> {
  const small = await post(`${url}/v1/embeddings`, { input: dataUrl(cat) });
  expect([small.status, small.json.data[0].embedding]).toEqual([200, expected]);
  const more = await post(`${url}/v1/embeddings`, large());
  expect([more.status, more.json.error ?? more.json.data[0].embedding]).toEqual([200, expected]);
  const form = new FormData();
  form.append('entries', '{"clip":{"visual":{"modelName":"default"}}}');
  form.append('image', new Blob([cat as Uint8Array<ArrayBuffer>]));
  expect(JSON.parse((await post(`${url}/predict`, form)).json.clip)).toEqual(expected);
  // By a connection of its own, which a server that has not read all of a body may close.
  const head = `POST ${new URL(url).pathname.replace(/\/$/, '')}/embed HTTP/1.1\r\nhost: x\r\ncontent-length: ${MAX_BODY + 1}\r\n\r\n`;
  expect((await exchange(url, [head])).status).toBe(413);
  const refused = await post(`${url}/v1/embeddings`, { input: 'data:image/png;base64,AAAA' });
  expect([refused.status, refused.json.error.param]).toEqual([400, 'input']);
  expect((await fetch(`${url}/health`, { method: 'HEAD' })).status).toBe(200);
  const leaving = new AbortController();
  const gone = fetch(`${url}/v1/embeddings`, { method: 'POST', body: large(), signal: leaving.signal }).catch(
    () => 'left',
  );
  leaving.abort();
  expect(await gone).toBe('left');
  await until('an empty budget', async () =>
    /^millrace_serve_body_bytes 0$/m.test(await (await fetch(`${url}/metrics`)).text()),
  );
}

const urlOf = (server: { address(): unknown }): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

describe('createServeApp()', () => {
  test("is mounted in Node's own server, beside other routes", async () => {
    const server = createServer((incoming, outgoing) => {
      if (incoming.url === '/own') outgoing.end('own');
      else app.listener(incoming, outgoing);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    expect(await (await fetch(`${urlOf(server)}/own`)).text()).toBe('own');
    await checkServer(urlOf(server));
    server.close().closeAllConnections();
  });

  test('is mounted in a Hono server, below a path, with and without its Node request', async () => {
    const outer = new Hono<{ Bindings: object }>();
    outer.get('/own', (context) => context.text('own'));
    outer.mount('/pictures', (request, env) => app.fetch(request, env), { optionHandler: (context) => [context.env] });
    outer.mount('/web', (request) => app.fetch(request));
    const server = serveHono({ fetch: outer.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
    await until('its address', () => server.address() ?? undefined);
    expect(await (await fetch(`${urlOf(server)}/own`)).text()).toBe('own');
    await checkServer(`${urlOf(server)}/pictures`);
    await checkServer(`${urlOf(server)}/web`);
    server.close().closeAllConnections();
  });

  test('answers a request of the web, its body as a stream, under the same cap, time and budget', async () => {
    const ask = async (
      stream: ReadableStream<Uint8Array>,
      init: RequestInit = {},
    ): Promise<Awaited<ReturnType<typeof read>>> => {
      const request = new Request('http://localhost/v1/embeddings', {
        method: 'POST',
        body: stream,
        duplex: 'half',
        ...init,
      } as RequestInit);
      return await read(await app.fetch(request));
    };
    const bytes = new TextEncoder().encode(large());
    const inPieces = (all: Uint8Array) =>
      new ReadableStream<Uint8Array>({
        start(controller) {
          for (let at = 0; at < all.length; at += 100_000) controller.enqueue(all.subarray(at, at + 100_000));
          controller.close();
        },
      });
    expect((await ask(inPieces(bytes))).json.data[0].embedding).toEqual(expected);

    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(100_000)),
      cancel: () => {
        cancelled = true;
      },
    });
    expect((await ask(endless)).status).toBe(413);
    expect(cancelled).toBe(true);

    const never = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new Uint8Array(10)) });
    expect((await ask(never)).status).toBe(408);

    const holding = new AbortController();
    const held = ask(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(2_000_000)) }), {
      signal: holding.signal,
    });
    await until('the bytes', async () =>
      /^millrace_serve_body_bytes 2000000$/m.test(
        await (await app.fetch(new Request('http://localhost/metrics'))).text(),
      ),
    );
    expect((await ask(inPieces(bytes))).status).toBe(429);
    holding.abort();
    expect((await held).status).toBe(499);
    expect((await ask(inPieces(bytes))).status).toBe(200);
  });

  test('refuses work with 503 once it drains, and still tells its health', async () => {
    const closing = createServeApp(pool);
    await closing.ready;
    await closing.drain();
    const answer = await closing.fetch(new Request('http://localhost/v1/embeddings', { method: 'POST', body: '{}' }));
    expect([answer.status, answer.headers.get('connection')]).toEqual([503, 'close']);
    expect((await closing.fetch(new Request('http://localhost/health'))).status).toBe(503);
    expect((await closing.fetch(new Request('http://localhost/ping'))).status).toBe(200);
    await closing.close();
  });

  test('names an option that is wrong', () => {
    const wrong: [object, string][] = [
      [{ maxBody: 1 }, "unknown option 'maxBody'"],
      [{ maxBodyBytes: 10, maxBodiesBytes: 5 }, 'maxBodiesBytes must be at least maxBodyBytes'],
      [{ aliases: { clip: 'nosuch' } }, "aliases['clip'] must be one of 'default'"],
      [{ protocols: ['grpc'] }, 'protocols[0] must be one of'],
      [{ apiKeys: ['short'] }, 'apiKeys[0] must have at least 8 characters'],
      [{ apiKeys: ['has a space in it'] }, 'apiKeys[0] must have at least 8 characters and no space'],
      [{ immichFallback: 'ftp://host' }, 'immichFallback must be a URL of http or https'],
    ];
    for (const [options, message] of wrong) expect(() => createServeApp(pool, options)).toThrow(message);
  });

  test('serves only the protocols that are asked for', async () => {
    const some = createServeApp(pool, { protocols: ['tei'] });
    const status = async (path: string): Promise<number> =>
      (
        await some.fetch(
          new Request(`http://localhost${path}`, {
            method: 'POST',
            body: JSON.stringify({ inputs: 'cat', input: 'cat' }),
          }),
        )
      ).status;
    expect([await status('/embed'), await status('/v1/embeddings')]).toEqual([200, 404]);
    await some.close();
  });
});
