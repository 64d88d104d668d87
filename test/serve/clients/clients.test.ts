/**
 * The packages by which people ask for embeddings, each against its own protocol of a real server. They are installed in this folder alone:
 * `npm ci --ignore-scripts --prefix test/serve/clients`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { listen, type ServePool, type ServeServer } from '../../../src/serve/index.js';
import { describeNeeding, type Need } from '../../support/needs.js';
import { until } from '../../support/until.js';
import { dataUrl, photo, post } from '../support/serving.js';
import { type RecordingProxy, startRecordingProxy } from './recording-proxy.js';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

interface Client {
  readonly name: string;
  readonly package?: string;
  readonly also?: readonly string[];
  readonly model?: string;
  readonly asks: 'float' | 'base64';
  readonly retries: boolean;
  readonly aborts: boolean;
  readonly tries?: number;
  readonly error?: RegExp;
  readonly busy?: RegExp;
  embed(url: string, model: string, inputs: readonly string[], signal?: AbortSignal): Promise<ArrayLike<number>[]>;
}

const NAMES = [
  'openai',
  'openai asked for floats',
  '@langchain/openai',
  'ai',
  '@llamaindex/openai',
  '@chroma-core/openai',
  '@llamaindex/jinaai',
  'cohere-ai',
  '@langchain/cohere',
  'ollama',
  '@langchain/ollama',
  '@chroma-core/ollama',
  '@huggingface/inference',
  '@chroma-core/huggingface-server',
  'voyageai',
];
const WITHOUT_ABORT = [
  '@langchain/openai',
  '@llamaindex/openai',
  '@chroma-core/openai',
  '@llamaindex/jinaai',
  '@langchain/cohere',
  '@langchain/ollama',
  '@chroma-core/ollama',
  '@chroma-core/huggingface-server',
];
const LIMIT = 8;
const MODEL = 'default';

const packages: Need = {
  name: 'the client packages (npm ci --ignore-scripts --prefix test/serve/clients)',
  isMet: () => existsSync(new URL('node_modules/openai/package.json', import.meta.url)),
};

describeNeeding(packages)('clients', () => {
  let clients: readonly Client[];
  let embedRawPicture: (url: string, bytes: Uint8Array) => Promise<number[][]>;
  let pool: ImageEmbeddingPool;
  let server: ServeServer;
  let proxy: RecordingProxy;
  let pictures: readonly string[];
  let vectors: readonly Float32Array[];
  /** While it is closed, pictures wait before they reach the pool. */
  let gate: Promise<void> | undefined;
  let held = 0;

  beforeAll(async () => {
    ({ clients, embedRawPicture } = await import(new URL('./clients.mjs', import.meta.url).href));
    pool = createImageEmbeddingPool({ workers: { max: 1 } });
    const names = ['cat-1', 'cat-2', 'rocket-1'];
    const files = await Promise.all(names.map(photo));
    pictures = files.map(dataUrl);
    vectors = await Promise.all(files.map((file) => pool.embedImageBytes(file)));
    server = await listen(gated(pool), {
      port: 0,
      aliases: { 'jina-clip-v1': MODEL },
      maxUnderWay: LIMIT,
    });
    proxy = await startRecordingProxy(server.url);
  });
  afterAll(async () => {
    proxy?.close();
    await server?.close();
    await pool?.close();
  });

  /** The pool, with a gate before its pictures. */
  function gated(real: ImageEmbeddingPool): ServePool {
    const embedImageDetailed: ServePool['embedImageDetailed'] = async (input, options) => {
      const signal = options?.signal;
      if (gate !== undefined) {
        held += 1;
        const aborted = new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()));
        await Promise.race([gate, aborted]);
        held -= 1;
        signal?.throwIfAborted();
      }
      return await real.embedImageDetailed(input, options);
    };
    return new Proxy(real, {
      get: (target, name) => {
        if (name === 'embedImageDetailed') return embedImageDetailed;
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    }) as unknown as ServePool;
  }

  function closeGate(): () => void {
    let open!: () => void;
    gate = new Promise((resolve) => {
      open = resolve;
    });
    return () => {
      gate = undefined;
      open();
    };
  }

  const find = (name: string): Client => clients.find((client) => client.name === name) as Client;
  const call = (client: Client, inputs: readonly string[], signal?: AbortSignal): Promise<ArrayLike<number>[]> =>
    client.embed(proxy.url, client.model ?? MODEL, inputs, signal);
  const cancelled = async (): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/millrace_serve_images_settled_total\{outcome="cancelled"\} (\d+)/.exec(text)?.[1]);
  };

  test('every package of the fixture is tried', () => {
    const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const tried = clients.flatMap((client) => [client.package ?? client.name, ...(client.also ?? [])]);
    expect([...new Set(tried)].sort()).toEqual(Object.keys(dependencies).sort());
    expect(clients.map(({ name }) => name)).toEqual(NAMES);
    expect(clients.filter(({ aborts }) => !aborts).map(({ name }) => name)).toEqual(WITHOUT_ABORT);
  });

  test.each(NAMES)('%s gets the vectors of pictures, bit for bit, and of words', async (name) => {
    const client = find(name);
    const before = proxy.exchanges.length;
    const given = await call(client, pictures);
    expect(given.map((vector) => Float32Array.from(vector))).toEqual(vectors);
    for (const { status, got } of proxy.exchanges.slice(before)) {
      expect(status).toBe(200);
      // What is asked for, and nothing else, is on the wire.
      expect(/"embedding":\s*"[A-Za-z0-9+/]+=*"/.test(got) ? 'base64' : 'float').toBe(client.asks);
    }
    const [word] = await call(client, ['tabby cat']);
    expect(Float32Array.from(word as ArrayLike<number>)).toEqual(await pool.embedText('tabby cat'));
  });

  test.each(NAMES)('%s shows its user why a picture is refused, and asks no more', async (name) => {
    const client = find(name);
    const before = proxy.exchanges.length;
    const bad = 'data:image/jpeg;base64,bm90IGEgcGljdHVyZQ==';
    await expect(call(client, [bad])).rejects.toThrow(client.error ?? /expected JPEG, PNG/);
    const { tries = 1 } = client;
    const answered = proxy.exchanges.slice(before).map(({ status }) => status);
    expect(answered).toEqual(new Array(tries).fill(answered[0]));
    expect(answered[0]).toBeGreaterThanOrEqual(400);
    expect(answered[0]).toBeLessThan(429);
  });

  test.each(NAMES)(
    '%s is told 429 by a server that is full, and gets its answer where it tries again',
    async (name) => {
      const client = find(name);
      const open = closeGate();
      let others: Promise<unknown[]> | undefined;
      try {
        const input = pictures[0] as string;
        const direct = Array.from({ length: LIMIT }, () =>
          post(`${server.url}/v1/embeddings`, { model: MODEL, input }),
        );
        others = Promise.all(direct);
        await until('a full server', () => held === LIMIT);
        const before = proxy.exchanges.length;
        const asked = call(client, [pictures[1] as string]);
        const outcome = asked.then(
          (given) => given.map((vector) => Float32Array.from(vector)),
          (error: unknown) => error,
        );
        await until('a refusal', () => proxy.exchanges[before]?.status === 429);
        open();
        const ended = await outcome;
        const { length } = proxy.exchanges.slice(before);
        if (client.retries) {
          expect(ended).toEqual([vectors[1]]);
          expect(length).toBeGreaterThan(1);
        } else {
          expect(String(ended)).toMatch(client.busy as RegExp);
          expect(length).toBe(1);
        }
      } finally {
        open();
        await others;
      }
    },
  );

  const aborting = NAMES.filter((name) => !WITHOUT_ABORT.includes(name));
  test.each(aborting)('%s gives a call up, and its picture is not run', async (name) => {
    const client = find(name);
    const open = closeGate();
    try {
      const before = await cancelled();
      const succeeded = pool.stats().succeeded;
      const controller = new AbortController();
      const asked = call(client, [pictures[2] as string], controller.signal);
      const outcome = asked.then(
        () => 'answered',
        () => 'given up',
      );
      await until('a picture at the gate', () => held === 1);
      controller.abort();
      expect(await outcome).toBe('given up');
      await until('a cancelled picture', async () => (await cancelled()) === before + 1);
      expect(held).toBe(0);
      expect(pool.stats().succeeded).toBe(succeeded);
    } finally {
      open();
    }
  });

  test('@huggingface/inference gets the vector of a picture that is sent as the body, without a content type', async () => {
    const given = await embedRawPicture(proxy.url, await photo('cat-1'));
    expect(given.map((vector) => Float32Array.from(vector))).toEqual([vectors[0]]);
  });
});
