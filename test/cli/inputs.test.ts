import { mkdir, mkdtemp, open, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UsageError } from '../../src/cli/exit-codes.js';
import { collectInputs, IMAGE_ENDINGS } from '../../src/cli/input/inputs.js';
import { imageFilesIn } from '../../src/image-embedding/facade/image-files.js';

let folder = '';
const at = (...names: string[]): string => path.join(folder, ...names);
const endings = IMAGE_ENDINGS;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace [in] ü '));
  await mkdir(at('photos (1)', 'inner'), { recursive: true });
  await mkdir(at('empty'));
  await mkdir(at('photos (1)', '.hidden'));
  for (const name of ['b.jpg', 'a.PNG', 'notes.txt', 'inner/c.webp', '.hidden/d.jpg', 'x[1].jpg']) {
    await writeFile(at('photos (1)', name), '');
  }
  await symlink(at('photos (1)'), at('photos (1)', 'inner', 'loop'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function names(args: string[], output?: string, taken: ReadonlySet<string> = endings): Promise<string[]> {
  const found: string[] = [];
  for await (const item of (await collectInputs(args, { endings: taken, output })).items) found.push(item.name);
  return found.map((name) => (path.isAbsolute(name) ? path.relative(folder, name) : name));
}

describe('collectInputs()', () => {
  test('takes the images of a folder at any depth, in order, and leaves the rest out', async () => {
    const list = await collectInputs([at('photos (1)')], { endings });
    expect(list.notes).toEqual(['1 other file in the folders left out']);
    expect(await names([at('photos (1)')])).toEqual([
      'photos (1)/a.PNG',
      'photos (1)/b.jpg',
      'photos (1)/inner/c.webp',
      'photos (1)/x[1].jpg',
    ]);
  });

  test('takes linked files, and follows no links to folders', async () => {
    await mkdir(at('links'));
    await symlink(path.join('..', 'photos (1)', 'b.jpg'), at('links', 'to-b.jpg'));
    await symlink(path.join('..', 'photos (1)'), at('links', 'folder.jpg'));
    await symlink('gone', at('links', 'broken.jpg'));
    await symlink('circle.jpg', at('links', 'circle.jpg'));
    expect(await names([at('links')])).toEqual(['links/to-b.jpg']);
    expect(await names([at('links', '**', '*.jpg')])).toEqual(['links/to-b.jpg']);
  });

  test('takes from a folder what ImageEmbeddingPool.embedImages() takes', async () => {
    await mkdir(at('both', 'deeper'), { recursive: true });
    for (const ending of [...IMAGE_ENDINGS, '.JPG', '.svg', '.txt', ''])
      await writeFile(at('both', `name${ending}`), '');
    await symlink(path.join('..', 'name.jpg'), at('both', 'deeper', 'linked.jpg'));
    await symlink('..', at('both', 'deeper', 'folder.jpg'));
    await symlink('gone', at('both', 'broken.jpg'));
    await writeFile(at('both', '.hidden.jpg'), '');
    const walked: string[] = [];
    for await (const file of imageFilesIn(at('both'))) walked.push(path.relative(folder, file));
    expect(walked.sort()).toEqual((await names([at('both')], undefined, IMAGE_ENDINGS)).sort());
    expect(walked).toHaveLength(IMAGE_ENDINGS.size + 2);
  });

  test('takes a file by its name whatever it is called, brackets included', async () => {
    expect(await names([at('photos (1)', 'x[1].jpg'), at('photos (1)', 'notes.txt')])).toEqual([
      'photos (1)/x[1].jpg',
      'photos (1)/notes.txt',
    ]);
  });

  test('takes what is named twice once', async () => {
    const list = await collectInputs([at('photos (1)', 'b.jpg'), at('photos (1)')], { endings });
    expect(list.total).toBe(4);
    expect(list.notes).toContain('1 named more than once, taken once');
  });

  test('keeps a file that does not exist: its turn gives the error', async () => {
    expect(await names([at('gone.jpg')])).toEqual(['gone.jpg']);
  });

  test('expands a glob, below folders whose names look like one', async () => {
    expect(await names([at('photos (1)', '**', '*.{jpg,webp}')])).toEqual([
      'photos (1)/b.jpg',
      'photos (1)/inner/c.webp',
      'photos (1)/x[1].jpg',
    ]);
  });

  test('takes URLs as they are', async () => {
    const list = await collectInputs(['https://example.org/a b.jpg?x=*'], { endings });
    expect([...(list.items as Iterable<unknown>)]).toEqual([{ name: 'https://example.org/a b.jpg?x=*', kind: 'url' }]);
  });

  test('never takes the output as an input', async () => {
    expect(await names([at('photos (1)')], at('photos (1)', 'b.jpg'))).toHaveLength(3);
    await expect(names([at('photos (1)', 'b.jpg')], at('photos (1)', 'b.jpg'))).rejects.toThrow(
      /both an input and the output/,
    );
  });

  test.each([
    [['empty'], /no images in folder .*empty/],
    [['*.nothing'], /nothing matches .*\*\.nothing/],
  ])('refuses %j, which give nothing', async (given, reason) => {
    const collecting = names(given.map((name) => at(name)));
    await expect(collecting).rejects.toThrow(reason);
    await expect(collecting).rejects.toBeInstanceOf(UsageError);
  });

  test('reads a list from standard input, one a line', async () => {
    const stdin = Readable.from(['a.jpg\r\nhttps://example.org/', 'b.png\n\nc d.jpg']);
    const list = await collectInputs(['-'], { endings, stdin });
    const items: unknown[] = [];
    for await (const item of list.items) items.push(item);
    expect(items).toEqual([
      { name: 'a.jpg', kind: 'path' },
      { name: 'https://example.org/b.png', kind: 'url' },
      { name: 'c d.jpg', kind: 'path' },
    ]);
  });

  test('fails where the list can not be read to its end', async () => {
    const stdin = new Readable({ read() {} });
    stdin.push('a.jpg\nb.jpg\n');
    setImmediate(() => stdin.destroy(new Error('the disk has failed')));
    const { items } = await collectInputs(['-'], { endings, stdin });
    const reading = (async () => {
      for await (const _ of items);
    })();
    await expect(reading).rejects.toThrow('the disk has failed');
  });

  test('refuses a folder in place of the list, which Node takes for an empty file', async () => {
    const handle = await open(folder);
    const stdin = Object.assign(Readable.from([]), { fd: handle.fd });
    await expect(collectInputs(['-'], { endings, stdin })).rejects.toThrow('standard input: it is a folder');
    await handle.close();
  });

  test('ends the list when its signal aborts, though the stream stays open', async () => {
    const stdin = new Readable({ read() {} });
    stdin.push('a.jpg\n');
    const stop = new AbortController();
    const list = await collectInputs(['-'], { endings, stdin, signal: stop.signal });
    const seen: string[] = [];
    for await (const item of list.items) {
      seen.push(item.name);
      stop.abort();
    }
    expect(seen).toEqual(['a.jpg']);
  });
});
