import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { FetchThread } from '../../../src/image-embedding/sources/fetch-thread.js';
import { resolveImageLimits } from '../../../src/image-embedding/sources/limits.js';

test('FetchThread.fetch() begins with another thread when the one before has failed for good', async () => {
  const server = createServer((_, response) => response.end('image')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  // A function can't be sent to a thread: it never begins.
  const limits: Record<string, unknown> = { ...resolveImageLimits({ url: { allowPrivateAddresses: true } }).url };
  limits.broken = () => undefined;
  const thread = new FetchThread(limits as never);
  await expect(thread.fetch(url, undefined)).rejects.toThrow();
  delete limits.broken;
  expect(Buffer.from(await thread.fetch(url, undefined)).toString()).toBe('image');
  await thread.close();
  server.close();
});
