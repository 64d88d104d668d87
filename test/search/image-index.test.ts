import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createIndex, type ImageIndex, openIndex } from '../../src/search/index.js';
import { entriesOf, pathOf, plainSearch, vectorOf } from './support/vectors.js';

const MODEL = {
  name: 'one',
  digest: '0123456789abcdef0123456789abcdef',
  preprocess: 'fast',
  normalized: true,
  dimensions: 8,
} as const;

let root: string;
let folder: string;
const opened: ImageIndex[] = [];

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'millrace-index-'));
  folder = path.join(root, 'photos.idx');
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((index) => index.close()));
  await rm(root, { recursive: true, force: true });
});

async function make(dimension: number): Promise<ImageIndex> {
  const index = await createIndex(folder, { dimension });
  opened.push(index);
  return index;
}

async function reopen(options?: Parameters<typeof openIndex>[1]): Promise<ImageIndex> {
  const index = await openIndex(folder, options);
  opened.push(index);
  return index;
}

describe('ImageIndex.search()', () => {
  it.each([1, 3, 16, 17, 256, 509])('answers what a plain loop does, for %i dimensions', async (dimension) => {
    const entries = entriesOf(0, 5_000, dimension);
    const index = await make(dimension);
    await index.add(entries.slice(0, 100));
    await index.search(vectorOf(1, dimension));
    await index.add(entries.slice(100));
    const readers = [index, await reopen({ precision: 'float32' }), await reopen({ precision: 'int8' })];
    for (let seed = 10_000; seed < 10_010; seed++) {
      const query = vectorOf(seed, dimension);
      const expected = plainSearch(entries, query, 10);
      for (const reader of readers) {
        const hits = await reader.search(query);
        expect(hits.map((hit) => hit.score.toFixed(5))).toEqual(expected.map((hit) => hit.score.toFixed(5)));
        // In few dimensions many pictures tie.
        if (dimension > 3) expect(hits.map((hit) => hit.path)).toEqual(expected.map((hit) => hit.path));
      }
    }
  });

  it('keeps to limit and minScore, also when nothing is left', async () => {
    const index = await make(16);
    const entries = entriesOf(0, 300, 16);
    await index.add(entries);
    const query = vectorOf(7, 16);
    expect(await index.search(query, { limit: 0 })).toEqual([]);
    expect(await index.search(query, { limit: Number.POSITIVE_INFINITY })).toHaveLength(300);
    const good = plainSearch(entries, query, 300).filter(({ score }) => score >= 0.3);
    expect(await index.search(query, { limit: 1_000, minScore: 0.3 })).toHaveLength(good.length);
    expect(await index.search(query, { minScore: 1 })).toHaveLength(0);
  });

  it('weighs terms, takes the best of alternatives, and subtracts', async () => {
    const index = await make(3);
    await index.add([
      { path: 'x', vector: Float32Array.of(1, 0, 0) },
      { path: 'y', vector: Float32Array.of(0, 1, 0) },
      { path: 'xy', vector: Float32Array.of(1, 1, 0) },
      { path: 'z', vector: Float32Array.of(0, 0, 1) },
    ]);
    const [x, y, z] = [Float32Array.of(1, 0, 0), Float32Array.of(0, 1, 0), Float32Array.of(0, 0, 1)];
    const first = async (...terms: { weight?: number; vectors: Float32Array[] }[]): Promise<string | undefined> =>
      (await index.search(terms))[0]?.path;
    expect(await first({ vectors: [x] }, { vectors: [y] })).toBe('xy');
    expect(await first({ weight: 9, vectors: [x] }, { vectors: [y] })).toBe('x');
    expect(await first({ vectors: [x] }, { weight: -1, vectors: [y] })).toBe('x');
    expect((await index.search([{ weight: -1, vectors: [x, y] }]))[0]?.path).toBe('z');
    const either = await index.search([{ vectors: [x, z] }], { limit: 2 });
    expect(either).toMatchObject([
      { path: 'x', score: 1 },
      { path: 'z', score: 1 },
    ]);
    const both = await index.search([{ vectors: [x, z] }, { vectors: [y] }], { limit: 1 });
    expect(both[0]?.path).toBe('xy');
    await expect(index.search([{ vectors: [x] }, { weight: -1, vectors: [x] }])).rejects.toThrow(/cancel/);
  });

  it('filters by date, place, camera, folder and function', async () => {
    const index = await make(2);
    const vector = Float32Array.of(1, 0);
    await index.add([
      { path: '/a/1.jpg', vector, taken: '2023-05-01T10:00:00', lat: 52.52, lon: 13.4, camera: 'Canon EOS R6' },
      { path: '/a/b/2.jpg', vector, taken: '2024-07-31T18:05:09', lat: 48.86, lon: 2.35, camera: 'Pixel 8' },
      { path: '/ab/3.jpg', vector, mtime: Date.parse('2020-02-03T12:00:00') },
    ]);
    const paths = async (options: Parameters<ImageIndex['search']>[1]): Promise<string[]> =>
      (await index.search(vector, options)).map((hit) => hit.path);
    expect(await paths({ after: '2024' })).toEqual(['/a/b/2.jpg']);
    expect(await paths({ before: '2023-05-02' })).toEqual(['/a/1.jpg', '/ab/3.jpg']);
    expect(await paths({ after: '2023-05-01T10:00', before: '2024-07-31 18:05:09' })).toEqual(['/a/1.jpg']);
    expect(await paths({ near: { lat: 52.5, lon: 13.4, km: 5 } })).toEqual(['/a/1.jpg']);
    expect(await paths({ near: { lat: 52.5, lon: 13.4, km: 1_000 } })).toEqual(['/a/1.jpg', '/a/b/2.jpg']);
    expect(await paths({ camera: 'canon' })).toEqual(['/a/1.jpg']);
    expect(await paths({ folder: '/a' })).toEqual(['/a/1.jpg', '/a/b/2.jpg']);
    expect(await paths({ where: ({ path: file }) => file.endsWith('3.jpg') })).toEqual(['/ab/3.jpg']);
    await expect(paths({ after: 'yesterday' })).rejects.toThrow(RangeError);
    await expect(paths({ limt: 3 } as never)).rejects.toThrow(/unknown option 'limt'/);
  });

  it('refuses a query without a direction, or of another length', async () => {
    const index = await make(4);
    await expect(index.search(new Float32Array(4))).rejects.toThrow(RangeError);
    await expect(index.search(new Float32Array(5).fill(1))).rejects.toThrow(/must have 4 numbers, received 5/);
    await expect(index.search(Float32Array.of(1, Number.NaN, 0, 0))).rejects.toThrow(RangeError);
    await expect(index.search([1, 0, 0, 0] as never)).rejects.toThrow(TypeError);
  });

  it('gives up when its signal aborts', async () => {
    const index = await make(4);
    await index.add(entriesOf(0, 10, 4));
    await expect(index.search(vectorOf(1, 4), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    );
  });
});

describe('ImageIndex.add() and remove()', () => {
  it('replaces what has the same path, within one call too', async () => {
    const index = await make(2);
    await index.add([
      { path: 'a', vector: Float32Array.of(1, 0), size: 1 },
      { path: 'a', vector: Float32Array.of(0, 3), size: 2 },
      { path: 'b', vector: Float32Array.of(1, 0) },
    ]);
    await index.add([{ path: 'b', vector: Float32Array.of(0, 1), size: 5 }]);
    expect(index.size).toBe(2);
    expect(index.get('a')).toEqual({ path: 'a', size: 2 });
    expect(await index.vector('a')).toEqual(Float32Array.of(0, 1));
    expect((await index.search(Float32Array.of(1, 0))).every(({ score }) => score === 0)).toBe(true);
    expect(await index.remove(['b', 'nothing'])).toBe(1);
    expect(index.get('b')).toBeUndefined();
    expect((await reopen()).size).toBe(1);
  });

  it('keeps a failure without a vector, which no search finds', async () => {
    const index = await make(2);
    const error = { code: 'ERR_IMAGE_CORRUPT', message: 'cut off' };
    await index.add([
      { path: 'bad', size: 3, error },
      { path: 'good', vector: Float32Array.of(-1, 0) },
    ]);
    for (const reader of [index, await reopen()]) {
      expect([reader.size, reader.failed]).toEqual([1, 1]);
      expect(reader.get('bad')).toEqual({ path: 'bad', size: 3, error });
      expect((await reader.search(Float32Array.of(1, 0))).map((hit) => hit.path)).toEqual(['good']);
      expect(await reader.vector('bad')).toBeUndefined();
    }
    await index.compact();
    expect((await index.search(Float32Array.of(1, 0))).map((hit) => hit.path)).toEqual(['good']);
    await index.add([{ path: 'bad', vector: Float32Array.of(1, 0) }]);
    expect([index.size, index.failed]).toEqual([2, 0]);
  });

  it('adds all of a call or nothing of it', async () => {
    const index = await make(2);
    const wrong = index.add([
      { path: 'a', vector: Float32Array.of(1, 0) },
      { path: 'b', vector: Float32Array.of(1, 0, 0) },
    ]);
    await expect(wrong).rejects.toThrow(RangeError);
    await expect(index.add([{ path: '' }])).rejects.toThrow(RangeError);
    await expect(index.add([{ path: 'a' }])).rejects.toThrow(TypeError);
    expect(index.size).toBe(0);
  });

  it('keeps odd names whole', async () => {
    const index = await make(2);
    const names = ['/a/line\nbreak.jpg', '/a/\u2028.jpg', '/a/😀 "quoted"\\.jpg', 'https://example.org/a?b=c'];
    await index.add(names.map((name) => ({ path: name, vector: Float32Array.of(1, 0) })));
    expect([...(await reopen()).items()].map((item) => item.path)).toEqual(names);
    expect((await readFile(path.join(folder, 'items.jsonl'), 'utf8')).split(/[\n\u2028]/)).toHaveLength(5);
  });

  it('compacts by itself once a third of many rows is gone', async () => {
    const index = await make(4);
    await index.add(entriesOf(0, 3_000, 4));
    await index.remove(Array.from({ length: 1_100 }, (_, seed) => pathOf(seed * 2)));
    const manifest = JSON.parse(await readFile(path.join(folder, 'index.json'), 'utf8')) as Record<string, unknown>;
    expect(manifest).toMatchObject({ rows: 1_900, gone: [], generation: expect.any(Number) });
    expect(manifest).not.toHaveProperty('isReplacing');
    const left = entriesOf(0, 3_000, 4).filter(({ path: file }) => index.get(file) !== undefined);
    expect(left).toHaveLength(1_900);
    const query = vectorOf(77_777, 4);
    expect((await index.search(query)).map((hit) => hit.path)).toEqual(
      plainSearch(left, query, 10).map((hit) => hit.path),
    );
    await index.add(entriesOf(5_000, 1, 4));
    expect(index.size).toBe(1_901);
  });
});

describe('openIndex()', () => {
  it('lets one writer in, and readers beside it', async () => {
    const writer = await make(4);
    await expect(openIndex(folder, { writable: true })).rejects.toMatchObject({ code: 'ERR_INDEX_LOCKED' });
    const reader = await reopen();
    await expect(reader.add(entriesOf(0, 1, 4))).rejects.toMatchObject({ code: 'ERR_INDEX_CLOSED' });
    await writer.close();
    await (await openIndex(folder, { writable: true })).close();
  });

  it('shows readers what a writer has committed, over additions, removals and compactions', async () => {
    const writer = await make(4);
    const reader = await reopen();
    const query = vectorOf(3, 4);
    expect(await reader.search(query)).toEqual([]);
    await writer.add(entriesOf(0, 10, 4));
    expect((await reader.search(query))[0]?.path).toBe(pathOf(3));
    await writer.add(entriesOf(10, 10, 4));
    await writer.remove([pathOf(3)]);
    expect((await reader.search(query, { limit: 100 })).map((hit) => hit.path)).not.toContain(pathOf(3));
    await writer.compact();
    expect(await reader.search(query, { limit: 100 })).toHaveLength(19);
    await writer.add(entriesOf(3, 1, 4));
    expect((await reader.search(query))[0]?.path).toBe(pathOf(3));
  });

  it('refuses the vectors of another model', async () => {
    const index = await createIndex(folder, { dimension: 8, model: MODEL });
    await index.close();
    await (await openIndex(folder, { model: { ...MODEL, name: 'another name' } })).close();
    const other = openIndex(folder, { model: { ...MODEL, digest: 'f'.repeat(32) } });
    await expect(other).rejects.toMatchObject({ code: 'ERR_INDEX_MODEL' });
  });

  it('tells what is wrong with a folder', async () => {
    await expect(openIndex(folder)).rejects.toMatchObject({ code: 'ERR_INDEX_NOT_FOUND' });
    const index = await make(4);
    await index.add(entriesOf(0, 10, 4));
    await expect(createIndex(folder, { dimension: 4 })).rejects.toMatchObject({ code: 'ERR_INDEX_LOCKED' });
    await index.close();
    await expect(createIndex(folder, { dimension: 4 })).rejects.toMatchObject({ code: 'ERR_INDEX_EXISTS' });
    await writeFile(path.join(root, 'mine.txt'), 'mine');
    await expect(createIndex(root, { dimension: 4 })).rejects.toThrow(/other files/);
    const vectors = path.join(folder, 'vectors.npy');
    const bytes = await readFile(vectors);
    await writeFile(vectors, bytes.subarray(0, bytes.length - 1));
    await expect(openIndex(folder)).rejects.toMatchObject({ code: 'ERR_INDEX_CORRUPT' });
    await writeFile(vectors, bytes);
    await writeFile(path.join(folder, 'index.json'), '{}');
    await expect(openIndex(folder)).rejects.toMatchObject({ code: 'ERR_INDEX_CORRUPT' });
  });
});

describe('ImageIndex.duplicates()', () => {
  it('groups what is alike, names the best copy and changes nothing', async () => {
    const index = await make(16);
    const near = (seed: number, by: number): Float32Array =>
      vectorOf(seed, 16).map((each, at) => each + by * (vectorOf(seed + 500, 16)[at] as number));
    await index.add([
      ...entriesOf(0, 3_000, 16),
      { path: '/other/big.jpg', vector: near(5, 0.05), size: 900, taken: '2024-01-02T00:00:00' },
      { path: '/photos/small.jpg', vector: near(5, 0.1), size: 20, taken: '2019-01-01T00:00:00' },
      { path: '/photos/twin.jpg', vector: vectorOf(2_900, 16) },
    ]);
    const groups = await index.duplicates({ minScore: 0.98 });
    expect(groups).toHaveLength(2);
    expect(groups[0]?.best.path).toBe('/other/big.jpg');
    expect(groups[0]?.copies.map(({ item }) => item.path)).toEqual([pathOf(5), '/photos/small.jpg']);
    expect(groups[1]?.copies).toMatchObject([{ item: { path: '/photos/twin.jpg' }, score: expect.closeTo(1, 5) }]);
    const oldest = await index.duplicates({ minScore: 0.98, keep: 'oldest', across: true });
    expect(oldest).toMatchObject([{ best: { path: '/photos/small.jpg' } }]);
    const bytes = await (await reopen({ precision: 'int8' })).duplicates({ minScore: 0.98 });
    expect(bytes).toEqual(groups);
    expect(index.size).toBe(3_003);
  });
});
