import { copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createImageEmbeddingPool,
  type ImageEmbeddingPool,
  identifyModel,
} from '../../../src/image-embedding/index.js';
import { createIndex, type ImageIndex, openIndex, updateIndex } from '../../../src/search/index.js';
import { type ListenOptions, listen, type ServeServer } from '../../../src/serve/index.js';
import { dataUrl, photo } from '../support/serving.js';

const PHOTOS = 'examples/photos';
const KEY = 'a-key-of-the-tests';

let root: string;
let pool: ImageEmbeddingPool;
let index: ImageIndex;
let server: ServeServer;

beforeAll(async () => {
  root = await realpath(await mkdtemp(path.join(tmpdir(), 'millrace-search-page-')));
  await mkdir(path.join(root, 'photos'));
  for (const name of await readdir(PHOTOS)) {
    if (name.endsWith('.jpg')) await copyFile(path.join(PHOTOS, name), path.join(root, 'photos', name));
  }
  pool = createImageEmbeddingPool({ workers: { max: 1 } });
  const model = await identifyModel(await pool.describe(), { preprocess: 'fast', normalize: true });
  const writer = await createIndex(path.join(root, 'photos.idx'), { dimension: model.dimensions, model });
  const files = (await readdir(path.join(root, 'photos'))).map((name) => path.join(root, 'photos', name));
  for await (const _ of updateIndex(writer, pool, files));
  await writer.close();
  index = await openIndex(path.join(root, 'photos.idx'));
  server = await serve({});
});

afterAll(async () => {
  await server?.close();
  await index?.close();
  await pool?.close();
  await rm(root, { recursive: true, force: true });
});

const serve = (options: ListenOptions): Promise<ServeServer> => listen(pool, { port: 0, index, ...options });
const at = (name: string): string => path.join(root, 'photos', name);

interface Answered {
  readonly status: number;
  readonly names: string[];
  readonly hits: readonly { readonly id: string; readonly name: string }[];
  readonly message: string | undefined;
}

async function query(body: object, url = server.url, headers = {}): Promise<Answered> {
  const response = await fetch(`${url}/search/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const { hits = [], error } = (await response.json()) as Partial<Answered> & { error?: { message: string } };
  return { status: response.status, hits, names: hits.map(({ name }) => name), message: error?.message };
}

describe('the search page of a server', () => {
  test('finds pictures by words, by a picture, by one of the index, and without some', async () => {
    expect((await query({ query: 'cat', limit: 2 })).names.sort()).toEqual(['cat-1.jpg', 'cat-2.jpg']);
    const picture = dataUrl(await photo('rocket-1'));
    expect((await query({ terms: [{ picture }], limit: 2 })).names.sort()).toEqual(['rocket-1.jpg', 'rocket-2.jpg']);
    expect((await query({ terms: [{ id: at('coffee-1.jpg') }], limit: 1 })).names).toEqual(['coffee-1.jpg']);
    const minus = await query({ query: 'cat', terms: [{ id: at('cat-1.jpg'), weight: -2 }], limit: 22 });
    expect(minus.names.at(-1)).toBe('cat-1.jpg');
    const [hit] = (await query({ query: 'cat', limit: 1 })).hits;
    expect(hit).toMatchObject({
      id: at('cat-1.jpg'),
      isFile: true,
      width: expect.any(Number),
      score: expect.any(Number),
    });
  });

  test('answers for a query that it can not answer', async () => {
    const cases: [object, RegExp][] = [
      [{ query: 'beach' }, /'beach' is no word .* near ones: beach waggon/],
      [{}, /The query is empty/],
      [{ query: 'cat +' }, /nothing follows '\+'/],
      [{ terms: [{ id: '/etc/passwd' }] }, /the index has no such picture/],
      [{ terms: [{ picture: 'data:image/jpeg;base64,AAAA' }] }, /Cannot decode image/],
      [{ query: 'https://example.org/a.jpg' }, /URLs are not fetched here/],
      [{ query: 'cat', limit: 0 }, /limit/],
      [{ query: 'cat', after: 'tuesday' }, /after must be a date/],
    ];
    for (const [body, message] of cases) {
      const { status, message: told } = await query(body);
      expect([status, told]).toEqual([400, expect.stringMatching(message)]);
    }
    // What looks like a path is words: nothing is opened for it.
    expect((await query({ query: at('cat-1.jpg') })).message).toContain('is no word');
  });

  test('shows thumbnails and originals of the index, and no other file', async () => {
    const image = (kind: string, id: string): Promise<Response> =>
      fetch(`${server.url}/search/${kind}?id=${encodeURIComponent(id)}`);
    const thumbnail = await image('thumbnail', at('clock.jpg'));
    expect([thumbnail.status, thumbnail.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
    const small = Buffer.from(await thumbnail.arrayBuffer());
    const original = Buffer.from(await (await image('original', at('clock.jpg'))).arrayBuffer());
    expect(original).toEqual(await readFile(at('clock.jpg')));
    expect(small.length).toBeLessThan(original.length);
    const secret = path.join(root, 'secret.jpg');
    await copyFile(at('cat-1.jpg'), secret);
    for (const id of [secret, '/etc/passwd', `${root}/photos/../secret.jpg`, '../secret.jpg', '']) {
      for (const kind of ['thumbnail', 'original']) expect((await image(kind, id)).status).toBe(404);
    }
    // A link in the place of an indexed picture is another file.
    const victim = at('rocket-2.jpg');
    await rm(victim);
    await symlink('/etc/passwd', victim);
    for (const kind of ['thumbnail', 'original']) expect((await image(kind, victim)).status).toBe(404);
  });

  test('asks for a key where the server has some, and takes a session for its pictures', async () => {
    const locked = await serve({ apiKeys: [KEY] });
    try {
      const page = await (await fetch(`${locked.url}/search/`)).text();
      expect(page).toContain('data-keys="yes"');
      expect((await query({ query: 'cat' }, locked.url)).status).toBe(401);
      const picture = `${locked.url}/search/thumbnail?id=${encodeURIComponent(at('clock.jpg'))}`;
      expect((await fetch(picture)).status).toBe(401);
      const headers = { authorization: `Bearer ${KEY}` };
      expect((await query({ query: 'cat' }, locked.url, headers)).status).toBe(200);
      const session = await fetch(`${locked.url}/search/session`, { method: 'POST', headers });
      const cookie = session.headers.get('set-cookie')?.split(';')[0] ?? '';
      expect([session.status, (await fetch(picture, { headers: { cookie } })).status]).toEqual([204, 200]);
    } finally {
      await locked.close();
    }
  });

  test('is not there without an index, and refuses what is none', async () => {
    const plain = await listen(pool, { port: 0 });
    expect((await fetch(`${plain.url}/search/`)).status).toBe(404);
    await plain.close();
    await writeFile(path.join(root, 'x'), '');
    await expect(listen(pool, { port: 0, index: root as never })).rejects.toThrow(/index must be an index/);
  });
});
