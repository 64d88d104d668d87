import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../src/image-embedding/index.js';
import { type ListenOptions, listen, type ServeServer } from '../../src/serve/index.js';
import { until } from '../support/until.js';
import { dataUrl, photo } from './support/serving.js';

const pools: ImageEmbeddingPool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close();
});

async function start(options: ListenOptions = {}): Promise<ServeServer> {
  const pool = createImageEmbeddingPool({ workers: 1 });
  pools.push(pool);
  return await listen(pool, { port: 0, ...options });
}

/** Asks over an agent's connection. */
function ask(agent: Agent, url: string, body?: string): Promise<{ status: number; connection: string | undefined }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, method: body === undefined ? 'GET' : 'POST' }, (answer) => {
      const { statusCode: status = 0, headers } = answer;
      answer.resume().on('end', () => resolve({ status, connection: headers.connection }));
    });
    sent.on('error', reject).end(body);
  });
}

describe('ServeServer.close()', () => {
  test('answers what was let in, tells a kept connection 503, and closes all of them', async () => {
    const server = await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const input = Array.from({ length: 32 }, () => '');
    const pictures = await Promise.all(['cat-1', 'rocket-1', 'coffee-1'].map(photo));
    const body = JSON.stringify({ input: input.map((_, index) => dataUrl(pictures[index % 3] as Buffer)) });
    const accepted = ask(agent, `${server.url}/v1/embeddings`, body);
    // Waits for the same connection.
    const queued = ask(agent, `${server.url}/v1/embeddings`, body);
    queued.catch(() => {});
    await until('the request', () => server.app.underWay === 1);
    const closed = server.close();
    expect(await accepted).toEqual({ status: 200, connection: 'close' });
    await closed;
    await expect(queued).rejects.toMatchObject({ code: expect.stringMatching(/ECONNREFUSED|ECONNRESET/) });
    expect(server.close()).toBe(server.close());
  });

  test('cuts what takes longer than it may', async () => {
    const server = await start({ bodyTimeoutMs: 60_000 });
    const { port, hostname } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    socket.write('POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{');
    const cut = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => {});
    await until('the request', () => server.app.underWay === 1);
    await server.close({ timeoutMs: 50 });
    await cut;
    expect(server.app.underWay).toBe(0);
  });

  test('closes idle connections at once', async () => {
    const server = await start();
    const agent = new Agent({ keepAlive: true });
    expect((await ask(agent, `${server.url}/health`)).status).toBe(200);
    await server.close({ timeoutMs: Number.MAX_SAFE_INTEGER });
    await expect(ask(new Agent(), `${server.url}/health`)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});

describe('listen()', () => {
  test('is disposed of at the end of a block, and refuses a port that is taken', async () => {
    const server = await start();
    const port = Number(new URL(server.url).port);
    await expect(start({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    {
      await using other = await start();
      expect((await fetch(`${other.url}/ping`)).status).toBe(200);
    }
    await server.close();
    await expect(start({ port: -1 })).rejects.toThrow('port must be a non-negative integer up to 65535');
    await expect(start({ hots: 'x' } as never)).rejects.toThrow("unknown option 'hots'");
  });

  test('tells by its health that the model did not load, and by the first request why', async () => {
    const pool = createImageEmbeddingPool({ model: '/nosuch/model', workers: 1 });
    pools.push(pool);
    const errors: unknown[] = [];
    const server = await listen(pool, { port: 0, onAccess: ({ error }) => errors.push(error) });
    const answer = await fetch(`${server.url}/v1/embeddings`, { method: 'POST', body: '{"input":"cat"}' });
    const { error } = (await answer.json()) as { error: { message: string; code: string } };
    // The path of the folder is for the operator alone.
    expect([answer.status, error.code]).toEqual([500, 'model_unavailable']);
    expect(error.message).not.toContain('nosuch');
    expect(errors.at(-1)).toMatchObject({
      code: 'ERR_MODEL_NOT_FOUND',
      message: expect.stringContaining('/nosuch/model'),
    });
    expect(((await (await fetch(`${server.url}/health`)).json()) as { ready: boolean }).ready).toBe(false);
    await server.close();
  });
});
