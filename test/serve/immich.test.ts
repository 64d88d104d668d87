import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../src/image-embedding/index.js';
import { listen, type ServeServer } from '../../src/serve/index.js';
import { exchange } from './support/exchange.js';
import { photo, post, serving } from './support/serving.js';

const at = serving({
  aliases: { 'ViT-B-32__openai': 'default' },
  apiKeys: ['a-long-secret'],
  openProtocols: ['immich'],
});

const VISUAL = { clip: { visual: { modelName: 'ViT-B-32__openai' } } };
const TEXTUAL = { clip: { textual: { modelName: 'ViT-B-32__openai', options: { language: 'en' } } } };
const FACES = {
  'facial-recognition': {
    detection: { modelName: 'buffalo_l', options: { minScore: 0.7 } },
    recognition: { modelName: 'buffalo_l' },
  },
};

/** The form as Immich's server makes it, with Node's own classes. */
function form(entries: object, part: { readonly image?: Uint8Array; readonly text?: string }): FormData {
  const data = new FormData();
  data.append('entries', JSON.stringify(entries));
  if (part.image !== undefined) data.append('image', new Blob([part.image as Uint8Array<ArrayBuffer>]));
  if (part.text !== undefined) data.append('text', part.text);
  return data;
}

/** The bytes of such a request, as Node 20 puts them on the wire. */
function recorded(host: string, entries: object, image: Uint8Array): Buffer {
  const boundary = '----formdata-undici-043819725603';
  const body = Buffer.concat([
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="entries"\r\n\r\n${JSON.stringify(entries)}\r\n` +
        `--${boundary}\r\nContent-Disposition: form-data; name="image"; filename="blob"\r\nContent-Type: application/octet-stream\r\n\r\n`,
    ),
    image,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  const head = [
    'POST /predict HTTP/1.1',
    `host: ${host}`,
    'connection: keep-alive',
    `content-type: multipart/form-data; boundary=${boundary}`,
    'accept: */*',
    'accept-language: *',
    'sec-fetch-mode: cors',
    'user-agent: node',
    'accept-encoding: gzip, deflate',
    `content-length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

describe('Immich', () => {
  test('is pinged without a key, and told what answers at the root', async () => {
    const ping = await at.get('/ping');
    expect([ping.status, ping.text]).toEqual([200, 'pong']);
    expect((await at.get('/')).status).toBe(200);
  });

  test('gets the vector of a picture as a string of JSON, with its size', async () => {
    const cat = await photo('cat-1');
    const { status, json } = await at.post('/predict', form(VISUAL, { image: cat }));
    expect(status).toBe(200);
    expect(typeof json.clip).toBe('string');
    expect(Float32Array.from(JSON.parse(json.clip))).toEqual(await at.pool.embedImageBytes(cat));
    expect(json).toMatchObject({ imageHeight: expect.any(Number), imageWidth: expect.any(Number) });
  });

  test('gets the vector of words', async () => {
    const { json } = await at.post('/predict', form(TEXTUAL, { text: 'rocket' }));
    expect(Float32Array.from(JSON.parse(json.clip))).toEqual(await at.pool.embedText('rocket'));
    expect(json).not.toHaveProperty('imageWidth');
  });

  test('is answered byte for byte as it sends, in whatever pieces the bytes come', async () => {
    const cat = await photo('cat-1');
    const bytes = recorded(new URL(at.server.url).host, VISUAL, cat);
    const expected = JSON.stringify(Array.from(await at.pool.embedImageBytes(cat)));
    const whole = await exchange(at.server.url, [bytes]);
    expect([whole.status, JSON.parse(whole.body).clip]).toEqual([200, expected]);
    // Cut in the head, in the boundary, in the picture.
    const cuts = [40, bytes.indexOf('\r\n\r\n') + 20, bytes.length - 20, bytes.length];
    const pieces = cuts.map((cut, index) => bytes.subarray(cuts[index - 1] ?? 0, cut));
    const cut = await exchange(at.server.url, pieces, 20);
    expect([cut.status, JSON.parse(cut.body).clip]).toEqual([200, expected]);
  });

  test('is refused faces, unknown models and broken forms in words, without a run of the model', async () => {
    const image = await photo('cat-1');
    const { accepted } = at.pool.stats();
    const cases: [FormData | string, number, string][] = [
      [form(FACES, { image }), 400, 'facial-recognition'],
      [form({ ...VISUAL, ...FACES }, { image }), 400, 'facial-recognition'],
      [form({ clip: { visual: { modelName: 'nosuch' } } }, { image }), 404, 'nosuch'],
      [form({ clip: { visual: { modelName: '../../etc/passwd' } } }, { image }), 404, 'not served'],
      [form(VISUAL, {}), 400, 'no image'],
      [form(TEXTUAL, {}), 400, 'no text'],
      [form({ clip: 'visual' }, { image }), 400, 'entries.clip'],
      ['{"entries":{}}', 400, 'multipart/form-data'],
    ];
    for (const [body, status, text] of cases) {
      const answer = await at.post('/predict', body);
      expect([answer.status, answer.json.detail]).toEqual([status, expect.stringContaining(text)]);
    }
    expect(at.pool.stats().accepted).toBe(accepted);
  });
});

describe('Immich, with its own container behind', () => {
  const asked: { readonly type: string | undefined; readonly body: Buffer }[] = [];
  let container: Server;
  let pool: ImageEmbeddingPool;
  let server: ServeServer;

  beforeAll(async () => {
    container = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        asked.push({ type: request.headers['content-type'], body: Buffer.concat(chunks) });
        response
          .setHeader('content-type', 'application/json')
          .end('{"facial-recognition":[],"imageHeight":1,"imageWidth":2}');
      });
    });
    await new Promise<void>((resolve) => container.listen(0, '127.0.0.1', resolve));
    pool = createImageEmbeddingPool({ workers: 1 });
    const { port } = container.address() as AddressInfo;
    server = await listen(pool, { port: 0, immichFallback: `http://127.0.0.1:${port}` });
  });
  afterAll(async () => {
    await server.close();
    await pool.close();
    container.close();
  });

  test('hands on what it does not serve, as it came', async () => {
    const bytes = recorded(new URL(server.url).host, FACES, await photo('cat-1'));
    const { status, body } = await exchange(server.url, [bytes]);
    expect([status, JSON.parse(body)]).toEqual([200, { 'facial-recognition': [], imageHeight: 1, imageWidth: 2 }]);
    expect(asked[0]?.type).toBe('multipart/form-data; boundary=----formdata-undici-043819725603');
    expect(asked[0]?.body.equals(bytes.subarray(bytes.indexOf('\r\n\r\n') + 4))).toBe(true);
  });

  test('embeds what it serves itself, and says when the container is gone', async () => {
    const image = await photo('cat-1');
    const own = await post(`${server.url}/predict`, form({ clip: { visual: { modelName: 'default' } } }, { image }));
    expect([own.status, asked.length]).toEqual([200, 1]);
    container.closeAllConnections();
    await new Promise((resolve) => container.close(resolve));
    const { status, json } = await post(`${server.url}/predict`, form(FACES, { image }));
    expect([status, json.detail]).toEqual([500, expect.stringContaining('fallback')]);
  });
});
