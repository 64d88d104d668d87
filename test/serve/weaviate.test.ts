import { expect, test } from 'vitest';
import { createImageEmbeddingPool } from '../../src/image-embedding/index.js';
import { createServeApp } from '../../src/serve/index.js';
import { exchange } from './support/exchange.js';
import { photo, serving } from './support/serving.js';

const at = serving();

/** A request as Weaviate's Go client puts it on the wire: no content type. */
function recorded(path: string, body: string): string {
  const { host } = new URL(at.server.url);
  return `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: ${Buffer.byteLength(body)}\r\nAccept-Encoding: gzip\r\n\r\n${body}`;
}

test('multi2vec-clip gets texts and pictures mixed, byte for byte as it asks', async () => {
  const [cat, rocket] = await Promise.all(['cat-1', 'rocket-1'].map(photo));
  const images = [cat, rocket].map((bytes) => (bytes as Buffer).toString('base64'));
  const answer = await exchange(at.server.url, [
    recorded('/vectorize', JSON.stringify({ texts: ['cat', 'rocket'], images })),
  ]);
  expect(answer.status).toBe(200);
  const { textVectors, imageVectors } = JSON.parse(answer.body) as Record<string, number[][]>;
  expect(textVectors?.map((each) => Float32Array.from(each))).toEqual(await at.pool.embedText(['cat', 'rocket']));
  expect(imageVectors?.map((each) => Float32Array.from(each))).toEqual(
    await at.pool.batchEmbedImages([cat as Buffer, rocket as Buffer]),
  );
});

test('multi2vec-clip may leave one list out, as Go writes it', async () => {
  const texts = await exchange(at.server.url, [recorded('/vectorize', '{"texts":["cat"],"images":null}')]);
  expect(JSON.parse(texts.body).imageVectors).toEqual([]);
  const none = await exchange(at.server.url, [recorded('/vectorize', '{"texts":null,"images":null}')]);
  expect([none.status, JSON.parse(none.body)]).toEqual([200, { textVectors: [], imageVectors: [] }]);
});

test('img2vec-neural gets the vector of one picture by its id', async () => {
  const cat = await photo('cat-1');
  const body = JSON.stringify({ id: '36ddd591-2dee-4e7e-a3cc-eb86d30a4303', image: cat.toString('base64') });
  const answer = JSON.parse((await exchange(at.server.url, [recorded('/vectors', body)])).body);
  expect(answer).toMatchObject({ id: '36ddd591-2dee-4e7e-a3cc-eb86d30a4303', dim: 256 });
  expect(Float32Array.from(answer.vector)).toEqual(await at.pool.embedImageBytes(cat));
});

test('a bad picture is an error in the words of the module', async () => {
  const { status, json } = await at.post('/vectorize', { texts: [], images: ['not base64!'] });
  expect([status, json.error]).toEqual([400, expect.stringContaining('images[0]')]);
});

test('it is ready once the model is loaded, and no earlier', async () => {
  const pool = createImageEmbeddingPool({ workers: { max: 1 } });
  const app = createServeApp(pool);
  const status = async (path: string): Promise<number> =>
    (await app.fetch(new Request(`http://localhost${path}`))).status;
  expect([await status('/.well-known/live'), await status('/.well-known/ready')]).toEqual([204, 503]);
  await app.warm();
  expect(await status('/.well-known/ready')).toBe(204);
  const meta = await (await app.fetch(new Request('http://localhost/meta'))).json();
  expect(meta).toMatchObject({ model: { dimension: 256 } });
  await app.drain();
  expect(await status('/.well-known/ready')).toBe(503);
  await app.close();
  await pool.close();
});
