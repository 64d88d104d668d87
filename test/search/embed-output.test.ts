import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openWriter } from '../../src/cli/output/open-writer.js';
import type { EmbedRecord } from '../../src/cli/output/record.js';
import { toFloat16 } from '../../src/image-embedding/inference/tensors.js';
import { createIndex, openIndex } from '../../src/search/index.js';
import { entriesOf, pathOf, plainSearch, vectorOf } from './support/vectors.js';

const MODEL = {
  name: 'owner/model',
  digest: '0123456789abcdef0123456789abcdef',
  preprocess: 'exact',
  normalized: false,
  dimensions: 20,
} as const;

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'millrace-output-'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** 300 pictures as `embed --no-normalize` gives them, every tenth a failure. */
const records: readonly EmbedRecord[] = entriesOf(0, 300, 20).map(({ path: file, vector }, at): EmbedRecord => {
  if (at % 10 === 3) return { path: file, error: { code: 'ERR_IMAGE_CORRUPT', message: 'cut off' } };
  const embedding = (vector as Float32Array).map((each) => each * (1 + at));
  return { path: file, embedding, model: MODEL };
});

async function write(name: string, all: readonly EmbedRecord[] = records): Promise<string> {
  const file = path.join(root, name);
  const writer = await openWriter(file, new PassThrough());
  for (const record of all) await writer.write(record);
  await writer.close();
  return file;
}

describe('openIndex() of what millrace embed wrote', () => {
  it.each(['photos.jsonl', 'photos.npy', 'photos.parquet'])('searches %s as an index', async (name) => {
    const index = await openIndex(await write(name));
    expect([index.size, index.failed, index.dimension]).toEqual([270, 30, 20]);
    expect(index.model).toEqual(MODEL);
    expect(index.source).toEqual({ from: 'owner/model' });
    const left = entriesOf(0, 300, 20).filter((_, at) => at % 10 !== 3);
    for (const seed of [7, 77, 1_000]) {
      const expected = plainSearch(left, vectorOf(seed, 20), 10);
      const hits = await index.search(vectorOf(seed, 20));
      expect(hits.map((hit) => hit.path)).toEqual(expected.map((hit) => hit.path));
      expect(hits[0]?.score).toBeCloseTo(expected[0]?.score as number, 5);
    }
    expect(index.get(pathOf(3))?.error?.code).toBe('ERR_IMAGE_CORRUPT');
    expect(await index.duplicates({ minScore: 0.999 })).toEqual([]);
    await expect(index.add(entriesOf(0, 1, 20))).rejects.toMatchObject({ code: 'ERR_INDEX_CLOSED' });
    await index.close();
  });

  it('takes the later of two records of a picture, and reads on when the file has grown', async () => {
    const file = await write('photos.jsonl', records.slice(0, 2));
    const index = await openIndex(file);
    const [first] = records as [Extract<EmbedRecord, { embedding: Float32Array }>];
    await appendFile(file, await readFile(await write('more.jsonl', [{ ...first, embedding: vectorOf(99, 20) }])));
    await appendFile(file, '{"path":"half of a line');
    const [hit] = await index.search(vectorOf(99, 20), { limit: 1 });
    expect(hit?.path).toBe(first.path);
    expect(hit?.score).toBeCloseTo(1, 5);
    expect(index.size).toBe(2);
    await index.close();
  });

  it('resolves relative paths, and leaves URLs', async () => {
    const embedding = vectorOf(1, 20);
    const names = ['a/b.jpg', 'https://example.org/c.jpg'];
    const index = await openIndex(
      await write(
        'x.jsonl',
        names.map((name) => ({ path: name, embedding })),
      ),
    );
    expect([...index.items()].map((item) => item.path)).toEqual([path.resolve('a/b.jpg'), names[1]]);
    expect(index.source).toBeUndefined();
    await index.close();
  });

  it('says what is wrong with a file', async () => {
    const file = (name: string): string => path.join(root, name);
    await expect(openIndex(file('none.jsonl'))).rejects.toMatchObject({ code: 'ERR_INDEX_NOT_FOUND' });
    await writeFile(file('bad.jsonl'), '{"path":"a","embedding":[1]}\nnot json\n');
    await expect(openIndex(file('bad.jsonl'))).rejects.toThrow(/line 2 is no record of millrace embed/);
    await writeFile(file('bad.npy'), 'no array');
    await expect(openIndex(file('bad.npy'))).rejects.toThrow(/no matrix of float32 or float16/);
    await writeFile(file('bad.parquet'), 'no parquet');
    await expect(openIndex(file('bad.parquet'))).rejects.toMatchObject({ code: 'ERR_INDEX_CORRUPT' });
    const npy = await write('lone.npy');
    await rm(`${npy}.jsonl`);
    await expect(openIndex(npy)).rejects.toThrow(/lone\.npy\.jsonl: there is none/);
    await expect(openIndex(await write('x.jsonl'), { writable: true })).rejects.toThrow(/is only read/);
    const other = { ...MODEL, digest: 'f'.repeat(32) };
    await expect(openIndex(file('x.jsonl'), { model: other })).rejects.toMatchObject({ code: 'ERR_INDEX_MODEL' });
    const [one] = records as [Extract<EmbedRecord, { embedding: Float32Array }>];
    const mixed = await write('mixed.jsonl', [one, { ...one, path: '/b', model: other }]);
    await expect(openIndex(mixed)).rejects.toMatchObject({ code: 'ERR_INDEX_MODEL' });
    await writeFile(file('empty.jsonl'), '');
    await expect(openIndex(file('empty.jsonl'))).rejects.toThrow(/it has no vectors/);
  });
});

describe('openIndex() of float16 vectors', () => {
  it('reads an array that another program has written in half precision, and does not write to it', async () => {
    const folder = path.join(root, 'photos.idx');
    const entries = entriesOf(0, 500, 12);
    const index = await createIndex(folder, { dimension: 12 });
    await index.add(entries);
    await index.close();
    const file = path.join(folder, 'vectors.npy');
    const whole = await readFile(file);
    const header = Buffer.from(whole.subarray(0, 128).toString('latin1').replace("'<f4'", "'<f2'"), 'latin1');
    const floats = new Float32Array(500 * 12);
    new Uint8Array(floats.buffer).set(whole.subarray(128));
    const halves = Uint16Array.from(floats, toFloat16);
    await writeFile(file, Buffer.concat([header, new Uint8Array(halves.buffer)]));
    for (const precision of ['float32', 'int8'] as const) {
      const reader = await openIndex(folder, { precision });
      for (const seed of [3, 33, 9_999]) {
        const hits = await reader.search(vectorOf(seed, 12), { limit: 3 });
        const expected = plainSearch(entries, vectorOf(seed, 12), 3);
        expect(hits.map((hit) => hit.path)).toEqual(expected.map((hit) => hit.path));
        expect(hits[0]?.score).toBeCloseTo(expected[0]?.score as number, 3);
      }
      await reader.close();
    }
    await expect(openIndex(folder, { writable: true })).rejects.toThrow(/rewritten by another program/);
    expect((await readFile(file)).length).toBe(128 + 500 * 12 * 2);
  });
});
