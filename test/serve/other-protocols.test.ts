import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { writeTestModel } from '../../scripts/make-test-models.js';
import { createImageEmbeddingPool } from '../../src/image-embedding/index.js';
import { createServeApp } from '../../src/serve/index.js';
import { dataUrl, photo, serving } from './support/serving.js';

const at = serving();

const vectorOf = async (name: string): Promise<number[]> =>
  Array.from(await at.pool.embedImageBytes(await photo(name)));
const floats = (base64: string): number[] => {
  const bytes = Buffer.from(base64, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
};

describe('Text Embeddings Inference', () => {
  test('answers /embed with two levels, for one input as for several', async () => {
    const cat = dataUrl(await photo('cat-1'));
    expect((await at.post('/embed', { inputs: cat })).json).toEqual([await vectorOf('cat-1')]);
    const both = await at.post('/embed', { inputs: [cat, 'cat'], normalize: true, truncate: true });
    expect(both.json).toEqual([await vectorOf('cat-1'), Array.from(await at.pool.embedText('cat'))]);
  });

  test('takes a picture as the body, with and without a type, and JSON without one', async () => {
    const cat = await photo('cat-1');
    for (const headers of [
      {},
      { 'content-type': 'image/jpeg' },
      { 'content-type': 'application/x-www-form-urlencoded' },
    ]) {
      expect((await at.post('/', cat, headers as Record<string, string>)).json).toEqual([await vectorOf('cat-1')]);
    }
    const json = new TextEncoder().encode(JSON.stringify({ inputs: dataUrl(cat) }));
    expect((await at.post('/embed', json)).json).toEqual([await vectorOf('cat-1')]);
  });

  test('says in its own words what is wrong', async () => {
    const cases = [
      [{ inputs: [] }, 400, 'Empty'],
      [{ inputs: 5 }, 422, 'Validation'],
      [{ inputs: 'data:image/png;base64,AAAA' }, 422, 'Validation'],
      [{ inputs: 'colourless green ideas' }, 422, 'Validation'],
    ] as const;
    for (const [body, status, type] of cases) {
      const { json, ...answer } = await at.post('/embed', body);
      expect([answer.status, json.error_type, typeof json.error]).toEqual([status, type, 'string']);
    }
  });

  test('tells /info what the model is', async () => {
    expect((await at.get('/info')).json).toMatchObject({ served_model_name: 'default', max_client_batch_size: 32 });
  });
});

describe('Cohere', () => {
  test('answers pictures and texts by type, at both of its paths', async () => {
    const cat = await photo('cat-1');
    const types = ['float', 'int8', 'uint8', 'binary', 'ubinary', 'base64'];
    for (const path of ['/v2/embed', '/v1/embed']) {
      const body = { model: 'default', input_type: 'image', images: [dataUrl(cat)], embedding_types: types };
      const { status, json } = await at.post(path, body);
      expect([status, json.response_type]).toEqual([200, 'embeddings_by_type']);
      const { float, int8, uint8, binary, ubinary, base64 } = json.embeddings;
      expect(float[0]).toEqual(await vectorOf('cat-1'));
      expect(floats(base64[0])).toEqual(float[0]);
      expect(uint8[0]).toEqual(int8[0].map((value: number) => value + 128));
      expect(binary[0]).toEqual(ubinary[0].map((value: number) => value - 128));
      expect(json.images).toEqual([
        { width: expect.any(Number), height: expect.any(Number), format: 'jpeg', bit_depth: 24 },
      ]);
    }
  });

  test('takes inputs with content, and refuses a picture and a text together', async () => {
    const image_url = { url: dataUrl(await photo('cat-1')) };
    const text = { type: 'text', text: 'cat' };
    const one = await at.post('/v2/embed', {
      inputs: [{ content: [{ type: 'image_url', image_url }] }, { content: [text] }],
    });
    expect(one.json.embeddings.float).toEqual([await vectorOf('cat-1'), Array.from(await at.pool.embedText('cat'))]);
    const both = await at.post('/v2/embed', { inputs: [{ content: [{ type: 'image_url', image_url }, text] }] });
    expect([both.status, both.json]).toEqual([400, { message: expect.stringContaining('one picture or of one text') }]);
  });
});

describe('Ollama', () => {
  test('answers /api/embed for data URLs, words and base64 in images', async () => {
    const cat = await photo('cat-1');
    const { json } = await at.post('/api/embed', {
      model: 'default:latest',
      input: ['cat', dataUrl(cat)],
      images: [cat.toString('base64')],
    });
    const vector = await vectorOf('cat-1');
    expect(json.embeddings).toEqual([Array.from(await at.pool.embedText('cat')), vector, vector]);
    expect(json).toMatchObject({ model: 'default', total_duration: expect.any(Number) });
    expect((await at.post('/api/embed', { model: 'default', input: '' })).json.embeddings).toEqual([]);
    expect((await at.post('/api/embeddings', { model: 'default', prompt: dataUrl(cat) })).json.embedding).toEqual(
      vector,
    );
    expect((await at.post('/api/embeddings', { model: 'default' })).json.embedding).toEqual([]);
  });

  test('answers what its tools ask, and an unknown model with a string', async () => {
    expect((await at.get('/api/tags')).json.models).toMatchObject([{ name: 'default' }]);
    expect((await at.get('/api/version')).json).toEqual({ version: expect.any(String) });
    expect((await at.post('/api/show', { model: 'default' })).json.model_info).toMatchObject({
      'mobilenet_v1.embedding_length': 256,
    });
    expect((await at.get('/api/ps')).json.models).toHaveLength(1);
    const unknown = await at.post('/api/embed', { model: 'llava', input: 'cat' });
    expect([unknown.status, typeof unknown.json.error]).toEqual([404, 'string']);
  });
});

describe('Voyage', () => {
  test('answers multimodal inputs, as numbers and as base64', async () => {
    const cat = await photo('cat-1');
    const inputs = [
      { content: [{ type: 'image_base64', image_base64: dataUrl(cat) }] },
      { content: [{ type: 'text', text: 'cat' }] },
    ];
    const { json } = await at.post('/v1/multimodalembeddings', { model: 'default', inputs });
    expect(json.data[0].embedding).toEqual(await vectorOf('cat-1'));
    expect(json.data[1].embedding).toEqual(Array.from(await at.pool.embedText('cat')));
    expect(json.usage.image_pixels).toBeGreaterThan(0);
    const base64 = await at.post('/v1/multimodalembeddings', { inputs, output_encoding: 'base64' });
    expect(floats(base64.json.data[0].embedding)).toEqual(json.data[0].embedding);
    const empty = await at.post('/v1/multimodalembeddings', { inputs: [{ content: [] }] });
    expect([empty.status, empty.json]).toEqual([400, { detail: expect.any(String) }]);
  });
});

test('a text is refused in the words of each protocol where the model has nothing for text', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-no-text-'));
  const pool = createImageEmbeddingPool({ model: await writeTestModel('tiny-vit', folder), workers: { max: 1 } });
  const app = createServeApp(pool);
  const ask = async (url: string, body: string | FormData): Promise<[number, unknown]> => {
    const answer = await app.fetch(new Request(`http://localhost${url}`, { method: 'POST', body }));
    return [answer.status, await answer.json()];
  };
  const text = expect.stringContaining('embeds pictures only');
  const form = new FormData();
  form.append('entries', '{"clip":{"textual":{"modelName":"default"}}}');
  form.append('text', 'cat');
  const inputs = [{ content: [{ type: 'text', text: 'cat' }] }];
  const cases: [string, string | FormData, number, unknown][] = [
    [
      '/v1/embeddings',
      JSON.stringify({ input: 'cat' }),
      400,
      { error: expect.objectContaining({ message: text, param: 'input', code: 'text_unsupported' }) },
    ],
    ['/embed', JSON.stringify({ inputs: 'cat' }), 422, { error: text, error_type: 'Validation' }],
    ['/v2/embed', JSON.stringify({ texts: ['cat'] }), 400, { message: text }],
    ['/api/embed', JSON.stringify({ model: 'default', input: 'cat' }), 400, { error: text }],
    ['/v1/multimodalembeddings', JSON.stringify({ inputs }), 400, { detail: text }],
    ['/vectorize', JSON.stringify({ texts: ['cat'] }), 400, { error: text }],
    ['/predict', form, 400, { detail: text }],
  ];
  for (const [url, body, status, expected] of cases) expect(await ask(url, body), url).toEqual([status, expected]);
  const models = (await (await app.fetch(new Request('http://localhost/v1/models'))).json()) as { data: object[] };
  expect(models.data).toMatchObject([{ id: 'default', capabilities: ['image_embed'] }]);
  await app.close();
  await pool.close();
  await rm(folder, { recursive: true });
});
