import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Examples, type Running, root } from './run-example.js';

vi.setConfig({ testTimeout: 90_000 });

let examples: Examples;
let server: Running;
let url: URL;
let cat: Buffer;
beforeAll(async () => {
  cat = await readFile(path.join(root, 'examples', 'photos', 'cat-1.jpg'));
  examples = await Examples.prepare();
  server = examples.start('http-endpoint', [], { PORT: '0', MAX_REQUESTS: '2', WORKERS: '1' });
  const [, address = ''] = await server.printed(/listening on (\S+)/);
  url = new URL(address);
});
afterAll(async () => {
  server.child.kill('SIGKILL');
  await server.ended;
  await examples.remove();
});

const embed = (body: Buffer | string) => fetch(new URL('/embed', url), { method: 'POST', body });

/** A client whose request has its place, and that has sent `bytes` of its body and waits. */
async function begin(bytes: number): Promise<Socket> {
  const socket = connect(Number(url.port), url.hostname);
  await once(socket, 'connect');
  // Node asks for the body in the same turn in which it hands the request over.
  socket.write(`POST /embed HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: ${cat.length}\r\n\r\n`);
  expect(String(await once(socket, 'data'))).toMatch(/^HTTP\/1\.1 100 /);
  socket.write(cat.subarray(0, bytes));
  return socket;
}

async function counts(outcome: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  const lines = text.split('\n').filter((line) => line.startsWith('millrace_pool_requests_settled_total'));
  return lines
    .filter((line) => line.includes(`outcome="${outcome}"`))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// In this order: the first request is the one that waits for a worker to start.
test('http-endpoint.ts gives a request up when its client goes away', async () => {
  const socket = await begin(cat.length);
  await until('the call is accepted', async () =>
    /requests_accepted_total\{.*\} 1/.test(await (await fetch(new URL('/metrics', url))).text()),
  );
  socket.destroy();
  await until('it was cancelled', async () => (await counts('cancelled')) === 1);
  expect(await counts('succeeded')).toBe(0);
});

test('http-endpoint.ts answers with an embedding, and keeps the connection after its answer', async () => {
  const response = await embed(cat);
  expect(response.status).toBe(200);
  const { dimension, embedding } = (await response.json()) as { dimension: number; embedding: number[] };
  expect(dimension).toBe(256);
  expect(embedding.reduce((sum, value) => sum + value ** 2, 0)).toBeCloseTo(1, 4);
});

test('http-endpoint.ts answers 429 with Retry-After when all places are taken, before it reads the body', async () => {
  const slow = [await begin(100), await begin(100)];
  const refused = await embed(cat);
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(await refused.json()).toEqual({ error: 'all places are taken' });
  // A client that goes away in the middle of its body gives its place back.
  for (const socket of slow) socket.destroy();
  await until('there is room again', async () => (await embed(cat)).status === 200);
});

test('http-endpoint.ts blames the client for what is no image, nothing, or too much', async () => {
  const junk = await embed('junk');
  expect(junk.status).toBe(422);
  expect(await junk.text()).toContain('ERR_IMAGE_UNSUPPORTED');
  expect((await embed('')).status).toBe(400);
  expect((await fetch(new URL('/nothing', url))).status).toBe(404);
  const socket = connect(Number(url.port), url.hostname);
  socket.write('POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n\r\n');
  const large = Buffer.alloc(20_000_001);
  socket.on('error', () => {});
  socket.write(large);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 .*connection: close/is);
  socket.destroy();
});

test('http-endpoint.ts answers a target that is no URL, and goes on', async () => {
  const socket = connect(Number(url.port), url.hostname);
  socket.end('GET // HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 404 /);
  expect((await fetch(new URL('/health', url))).status).toBe(200);
});

test('http-endpoint.ts is healthy, and on SIGTERM finishes and ends', async () => {
  const health = await fetch(new URL('/health', url));
  expect(await health.json()).toEqual({ status: 'healthy' });
  server.child.kill('SIGTERM');
  const { code, stdout, stderr } = await server.ended;
  expect(stderr).toBe('');
  expect(stdout).toContain('stopped');
  expect(code).toBe(0);
});
