/** A pool behind a listening server, for the tests of the server: real workers, a real socket. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll } from 'vitest';
import {
  createImageEmbeddingPool,
  type ImageEmbeddingPool,
  type ImageEmbeddingPoolOptions,
} from '../../../src/image-embedding/index.js';
import { type AccessEntry, type ListenOptions, listen, type ServeServer } from '../../../src/serve/index.js';

export const photo = (name: string): Promise<Buffer> =>
  readFile(new URL(`../../../examples/photos/${name}.jpg`, import.meta.url));

export const dataUrl = (bytes: Uint8Array): string => `data:image/jpeg;base64,${Buffer.from(bytes).toString('base64')}`;

/** An answer whose body was read. */
export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: any JSON
  readonly json: any;
}

export async function read(response: Response): Promise<Answered> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

/** What {@link serving} gives. */
export interface Serving {
  readonly pool: ImageEmbeddingPool;
  readonly server: ServeServer;
  readonly log: AccessEntry[];
  url(path: string): string;
  get(path: string, headers?: Record<string, string>): Promise<Answered>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answered>;
}

/** Posts a value as JSON, and anything that `fetch` takes as it is. */
export async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answered> {
  const isRaw = typeof body === 'string' || body instanceof Uint8Array || body instanceof FormData;
  return await read(
    await fetch(url, {
      method: 'POST',
      headers: isRaw ? headers : { 'content-type': 'application/json', ...headers },
      body: isRaw ? (body as string) : JSON.stringify(body),
    }),
  );
}

/** Serves a pool while the tests of a file run. Each test file has its own. */
export function serving(
  options: Omit<ListenOptions, 'onAccess'> = {},
  poolOptions: ImageEmbeddingPoolOptions = { workers: 1 },
): Serving {
  const log: AccessEntry[] = [];
  let pool: ImageEmbeddingPool;
  let server: ServeServer;
  beforeAll(async () => {
    pool = createImageEmbeddingPool(poolOptions);
    server = await listen(pool, { port: 0, ...options, onAccess: (entry) => log.push(entry) });
  });
  afterAll(async () => {
    await server.close();
    await pool.close();
  });
  const url = (path: string): string => `${server.url}${path}`;
  return {
    get pool() {
      return pool;
    },
    get server() {
      return server;
    },
    log,
    url,
    get: async (path, headers = {}) => await read(await fetch(url(path), { headers })),
    post: (path, body, headers) => post(url(path), body, headers),
  };
}
