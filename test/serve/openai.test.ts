import { describe, expect, test } from 'vitest';
import { dataUrl, photo, serving } from './support/serving.js';

const at = serving({ aliases: { 'jina-clip-v1': 'default', '*': 'default' } });

const floats = (base64: string): Float32Array => {
  const bytes = Buffer.from(base64, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};

describe('/v1/embeddings', () => {
  test('answers a data URL bit for bit as the pool does, as base64 and as numbers', async () => {
    const cat = await photo('cat-1');
    const expected = await at.pool.embedImageBytes(cat);
    const input = dataUrl(cat);
    const base64 = await at.post('/v1/embeddings', { model: 'default', input, encoding_format: 'base64' });
    expect(base64.status).toBe(200);
    expect(floats(base64.json.data[0].embedding)).toEqual(expected);
    const numbers = await at.post('/embeddings', { model: 'default', input, encoding_format: 'float' });
    expect(Float32Array.from(numbers.json.data[0].embedding)).toEqual(expected);
    expect(numbers.json).toMatchObject({
      object: 'list',
      model: 'default',
      usage: { prompt_tokens: 0, total_tokens: 0 },
    });
  });

  test('takes the shapes of Jina, mlx-vlm, vLLM and Infinity', async () => {
    const cat = await photo('cat-1');
    const url = dataUrl(cat);
    const bare = cat.toString('base64');
    const bodies = [
      { model: 'jina-clip-v1', input: [{ image: url }] },
      { model: 'jina-clip-v1', input: [{ image: bare }] },
      { model: 'jina-clip-v1', input: [{ bytes: bare }] },
      { model: 'jina-clip-v1', input: [{ url }], encoding_type: 'float' },
      { model: 'any', input: { type: 'image_url', image_url: { url } } },
      {
        model: 'any',
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image_url', image_url: { url } },
              { type: 'text', text: '' },
            ],
          },
        ],
      },
      { model: 'any', input: bare, modality: 'image' },
    ];
    const expected = Array.from(await at.pool.embedImageBytes(cat));
    for (const body of bodies) {
      const { status, json } = await at.post('/v1/embeddings', body);
      expect(status, JSON.stringify(body).slice(0, 80)).toBe(200);
      expect(json.data[0].embedding).toEqual(expected);
    }
  });

  test('embeds a text by the nouns of the built-in model, beside a picture', async () => {
    const { json } = await at.post('/v1/embeddings', { input: ['tabby cat', dataUrl(await photo('cat-1'))] });
    expect(Float32Array.from(json.data[0].embedding)).toEqual(await at.pool.embedText('tabby cat'));
    const unknown = await at.post('/v1/embeddings', { input: ['cat', 'colourless green ideas'] });
    expect(unknown.status).toBe(400);
    expect(unknown.json.error).toMatchObject({ param: 'input[1]', code: 'word_unknown' });
  });

  test('names the one bad picture of a batch, and answers the next request by the same worker', async () => {
    const names = ['cat-1', 'cat-2', 'rocket-1'];
    const input = await Promise.all(
      Array.from({ length: 32 }, async (_, index) => dataUrl(await photo(names[index % 3] as string))),
    );
    const before = at.pool.stats().models.default?.starts;
    input[7] = dataUrl((await photo('cat-1')).subarray(0, 700));
    const bad = await at.post('/v1/embeddings', { input });
    expect(bad.status).toBe(400);
    expect(bad.json.error).toMatchObject({ param: 'input[7]', code: 'image_corrupt', type: 'invalid_request_error' });
    input[7] = input[8] as string;
    const good = await at.post('/v1/embeddings', { input });
    expect(good.json.data).toHaveLength(32);
    expect(at.pool.stats().models.default?.starts).toBe(before);
  });

  test('refuses token ids, several things in one item, bare base64 as a text, and lengths that the model lacks', async () => {
    const bare = (await photo('cat-1')).toString('base64');
    const cases = [
      [{ input: [1, 2, 3] }, 'token_ids_unsupported'],
      [{ input: [[1, 2], [3]] }, 'token_ids_unsupported'],
      [{ input: [{ image: bare, text: 'cat' }] }, 'fusion_unsupported'],
      [{ input: [bare] }, 'data_url_expected'],
      [{ input: [bare.slice(0, 400)] }, 'data_url_expected'],
      [{ input: [] }, 'empty'],
      [{ input: 'cat', dimensions: 100 }, 'dimensions_unsupported'],
      [{ input: Array.from({ length: 33 }, () => dataUrl(Buffer.from(bare, 'base64'))) }, 'too_many_pictures'],
    ] as const;
    for (const [body, code] of cases) {
      const { status, json } = await at.post('/v1/embeddings', body);
      expect([status, json.error.code]).toEqual([400, code]);
    }
  });

  test('takes a long text of base64 characters and spaces for the text that it is', async () => {
    const { json } = await at.post('/v1/embeddings', { input: 'the quick brown fox jumps '.repeat(400) });
    expect(json.error.code).toBe('word_unknown');
  });

  test('embeds a picture that is the whole body', async () => {
    const cat = await photo('cat-1');
    const { json } = await at.post('/v1/embeddings?model=default', cat, { 'content-type': 'image/jpeg' });
    expect(Float32Array.from(json.data[0].embedding)).toEqual(await at.pool.embedImageBytes(cat));
  });

  test('answers fewer bits of each value, on one scale for all vectors', async () => {
    const input = [dataUrl(await photo('cat-1')), dataUrl(await photo('rocket-1'))];
    const [first = []] = (await at.post('/v1/embeddings', { input })).json.data.map(
      (each: { embedding: number[] }) => each.embedding,
    );
    const packed = (await at.post('/v1/embeddings', { input, encoding_format: 'ubinary' })).json.data[0]
      .embedding as number[];
    expect(packed).toHaveLength(first.length / 8);
    const bits = packed.flatMap((byte) => Array.from({ length: 8 }, (_, bit) => (byte >> (7 - bit)) & 1));
    expect(bits).toEqual(first.map((value: number) => Number(value > 0)));
    const bytes = (await at.post('/v1/embeddings', { input, output_dtype: 'int8' })).json.data[0].embedding as number[];
    const scale = (await at.get('/v1/models')).json.data[0].int8_scale as number;
    expect(bytes).toEqual(first.map((value: number) => Math.max(-128, Math.min(127, Math.round(value * scale)))));
  });
});

describe('/v1/models', () => {
  test('lists the model and its aliases, and one by its name', async () => {
    const { json } = await at.get('/v1/models');
    expect(json.data.map(({ id }: { id: string }) => id)).toEqual(['default', 'jina-clip-v1']);
    expect((await at.get('/models/')).json.data).toHaveLength(2);
    expect((await at.get('/v1/models/jina-clip-v1')).json).toMatchObject({ id: 'jina-clip-v1', root: 'default' });
  });
});
