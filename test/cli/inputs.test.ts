import { chmod, mkdir, open, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { beforeAll, describe, expect, test } from 'vitest';
import { UsageError } from '../../src/cli/errors.js';
import { collectInputs, type EmbedInput, IMAGE_ENDINGS } from '../../src/cli/input/inputs.js';
import { imageFilesIn } from '../../src/image-embedding/facade/image-files.js';
import { encodePath } from '../../src/image-embedding/file-name.js';
import { linux, posix, testNeeding } from '../support/needs.js';
import { withoutRoot } from '../support/other-user.js';
import { tempFolder } from '../support/temp-folder.js';

const at = tempFolder('[in] ü');
const endings = IMAGE_ENDINGS;

beforeAll(async () => {
  await mkdir(at('photos (1)', 'inner'), { recursive: true });
  await mkdir(at('empty'));
  await mkdir(at('photos (1)', '.hidden'));
  for (const name of ['b.jpg', 'a.PNG', 'notes.txt', 'inner/c.webp', '.hidden/d.jpg', 'x[1].jpg']) {
    await writeFile(at('photos (1)', name), '');
  }
  await symlink(at('photos (1)'), at('photos (1)', 'inner', 'loop'));
});

async function names(args: string[], output?: string, taken: ReadonlySet<string> = endings): Promise<string[]> {
  const found: string[] = [];
  for await (const item of (await collectInputs(args, { endings: taken, output })).items) found.push(item.name);
  return found.map((name) => (path.isAbsolute(name) ? path.relative(at(), name) : name));
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
    for await (const file of imageFilesIn(at('both'))) walked.push(path.relative(at(), file));
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
    const handle = await open(at());
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

  test('keeps links to nothing apart from the inputs, each with its error', async () => {
    const { items, unreadable, total } = await collectInputs([at('links')], { endings });
    expect([...(items as Iterable<{ name: string }>)].map(({ name }) => path.basename(name))).toEqual(['to-b.jpg']);
    expect(total).toBe(1);
    expect(unreadable.map(({ name, error }) => `${path.basename(name)} ${error.code}`)).toEqual([
      'broken.jpg ERR_IMAGE_NOT_FOUND',
      'circle.jpg ERR_IMAGE_FORBIDDEN',
    ]);
    const matched = await collectInputs([at('links', '*.jpg')], { endings });
    expect(matched.unreadable.map(({ name }) => name)).toEqual(unreadable.map(({ name }) => name));
    const other = await collectInputs([at('links', 't*.jpg')], { endings });
    expect(other.unreadable).toEqual([]);
  });

  testNeeding(posix)('keeps a folder that can not be read apart, and refuses one that is named', async () => {
    await mkdir(at('library', 'locked'), { recursive: true });
    await writeFile(at('library', 'a.jpg'), '');
    await chmod(at(), 0o755);
    await chmod(at('library', 'locked'), 0);
    try {
      await withoutRoot(async () => {
        for (const arg of [at('library'), at('library', '**', '*.jpg'), at('library', '*', '*.jpg')]) {
          const { unreadable } = await collectInputs([arg], { endings });
          expect(unreadable, arg).toMatchObject([{ name: at('library', 'locked'), error: { code: 'ERR_IMAGE_READ' } }]);
        }
        expect((await collectInputs([at('library', '*.jpg')], { endings })).unreadable).toEqual([]);
        expect((await collectInputs([at('library'), '!locked'], { endings })).unreadable).toEqual([]);
        for (const arg of [at('library', 'locked'), at('library', 'locked', '*.jpg')]) {
          const collecting = collectInputs([at('library'), arg], { endings });
          await expect(collecting, arg).rejects.toThrow(/locked.*permission denied \(EACCES\)/);
          await expect(collecting, arg).rejects.toBeInstanceOf(UsageError);
        }
      });
    } finally {
      await chmod(at('library', 'locked'), 0o755);
    }
  });

  test('leaves out what --exclude or an input with ! names, and says how much', async () => {
    const everything = await names([at('photos (1)')]);
    for (const [exclude, more] of [
      [['inner', '*.PNG'], []],
      [[], ['!**/inner/**', '!*.PNG']],
    ] as const) {
      const list = await collectInputs([at('photos (1)'), ...more], { endings, exclude });
      const found = [...(list.items as Iterable<{ name: string }>)].map(({ name }) => path.relative(at(), name));
      expect(found).toEqual(everything.filter((name) => !/inner|PNG/.test(name)));
      expect(list.notes).toContain('2 left out by --exclude');
    }
    await expect(collectInputs([at('photos (1)'), '!*'], { endings })).rejects.toThrow(/no images found .*--exclude/);
    const globbed = await collectInputs([at('photos (1)', '**', '*.{jpg,webp}')], { endings, exclude: ['inner'] });
    expect(globbed.total).toBe(2);
    const named = await collectInputs(['a/draft-1.jpg', 'a/b.jpg'], { endings, exclude: ['draft-*'] });
    expect(named.total).toBe(1);
  });

  test('takes a file whose name begins with ! for what it is', async () => {
    await writeFile(at('!x.jpg'), '');
    const before = process.cwd();
    process.chdir(at());
    try {
      expect((await collectInputs(['!x.jpg'], { endings })).total).toBe(1);
    } finally {
      process.chdir(before);
      await rm(at('!x.jpg'));
    }
  });

  test('leaves out what network storage keeps for itself, and says so', async () => {
    await mkdir(at('nas', '@eaDir', 'x.jpg'), { recursive: true });
    await mkdir(at('nas', '#recycle'), { recursive: true });
    for (const name of ['x.jpg', '@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg', '#recycle/z.jpg']) {
      await writeFile(at('nas', name), '');
    }
    for (const arg of [at('nas'), at('nas', '**', '*.jpg')]) {
      expect(await names([arg]), arg).toEqual(['nas/x.jpg']);
      expect((await collectInputs([arg], { endings })).notes).toContain('system folders left out: #recycle, @eaDir');
    }
    expect(await names([at('nas', '#recycle')])).toEqual(['nas/#recycle/z.jpg']);
  });

  testNeeding(posix)('takes a folder with a backslash in its name', async () => {
    await mkdir(at('odd', 'a\\b'), { recursive: true });
    await writeFile(at('odd', 'a\\b', 'x.jpg'), '');
    expect(await names([at('odd', 'a\\b')])).toEqual(['odd/a\\b/x.jpg']);
  });

  test('takes what a list names twice once, and says so at its end', async () => {
    const stdin = Readable.from(['a.jpg\n./a.jpg\nb.jpg\nhttps://example.org/a\nhttps://example.org/a\n']);
    const list = await collectInputs(['-'], { endings, stdin });
    const found: string[] = [];
    for await (const { name } of list.items) found.push(name);
    expect(found).toEqual(['a.jpg', 'b.jpg', 'https://example.org/a']);
    expect(list.lateNotes()).toEqual(['2 named more than once, taken once']);
  });

  test('leaves out of a list what is excluded', async () => {
    const stdin = Readable.from(['a/@eaDir/x.jpg\na/x.jpg\n']);
    const { items } = await collectInputs(['-', '!@eaDir'], { endings, stdin });
    const found: string[] = [];
    for await (const { name } of items) found.push(name);
    expect(found).toEqual(['a/x.jpg']);
  });

  test('takes names of any kind from a list: line breaks, emoji, dashes, what looks like a URL, bytes that are not UTF-8', async () => {
    const odd = ['line\nbreak.jpg', '😀.jpg', '-rf.jpg', '--out', 'file:x.jpg', 'a\rb.jpg', '\u2028.jpg', ' a '];
    const bytes = Buffer.concat([
      Buffer.from(odd.map((name) => `${name}\0`).join('')),
      Buffer.from('caf\xe9.jpg\0', 'latin1'),
    ]);
    const { items } = await collectInputs(['-'], { endings, stdin: Readable.from([bytes]), isNullSeparated: true });
    const found: EmbedInput[] = [];
    for await (const item of items) found.push(item);
    expect(found.slice(0, -1)).toEqual(odd.map((name) => ({ name, kind: 'path' })));
    const { name, file } = found.at(-1) as EmbedInput;
    expect(name).toBe(`file://${encodeURI(path.resolve('.'))}/caf%E9.jpg`);
    expect(encodePath(file as string)).toEqual(Buffer.from('caf\xe9.jpg', 'latin1'));
    // And as the output names it.
    const again = await collectInputs([name], { endings });
    expect([...(again.items as Iterable<EmbedInput>)]).toEqual([
      { name, kind: 'path', file: path.resolve(file as string) },
    ]);
  });

  test('refuses --null without a list', async () => {
    await expect(collectInputs(['a.jpg'], { endings, isNullSeparated: true })).rejects.toThrow(
      /'--null' goes with '-'/,
    );
  });

  testNeeding(linux)(
    'matches names that hold or begin with a line break, and leaves them out by a pattern',
    async () => {
      const odd = ['\n.jpg', '\u2028x.jpg', 'a\nb.jpg', '\r\r.jpg'];
      await mkdir(at('breaks', '\ninner'), { recursive: true });
      for (const name of odd) await writeFile(at('breaks', '\ninner', name), '');
      const wanted = odd.map((name) => path.join('breaks', '\ninner', name)).sort();
      expect((await names([at('breaks', '*', '*.jpg')])).sort()).toEqual(wanted);
      expect((await names([at('breaks', '\ninner', '*')])).sort()).toEqual(wanted);
      await expect(collectInputs([at('breaks'), '!*.jpg'], { endings })).rejects.toThrow(/4 left out by --exclude/);
      await expect(collectInputs([at('breaks'), '!\n*'], { endings })).rejects.toThrow(/no images found/);
    },
  );
});
