import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { imageFileEndings, imageFilesIn, walkImages } from '../../../src/image-embedding/facade/image-files.js';
import { decodePath } from '../../../src/image-embedding/file-name.js';
import { createImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { linux, posix, testNeeding } from '../../support/needs.js';
import { withoutRoot } from '../../support/other-user.js';

let folder = '';
const at = (...names: string[]): string => path.join(folder, ...names);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace walk '));
  await chmod(folder, 0o755);
  for (const inner of ['a', 'locked', 'z', '@eaDir', '#recycle', 'b\\c']) {
    await mkdir(at('lib', inner), { recursive: true });
    await writeFile(at('lib', inner, 'x.jpg'), '');
  }
  await symlink('gone', at('lib', 'dangling.jpg'));
  await symlink('circle.jpg', at('lib', 'circle.jpg'));
  await symlink('gone', at('lib', 'notes.txt'));
  await chmod(at('lib', 'locked'), 0o000);
});
afterAll(async () => {
  await chmod(at('lib', 'locked'), 0o755);
  await rm(folder, { recursive: true, force: true });
});

/** What a walk finds, with the code of what can't be read. */
async function walk(root: string): Promise<string[]> {
  const found: string[] = [];
  for await (const each of walkImages(root, { endings: imageFileEndings })) {
    const name = path.relative(folder, each.path);
    const code = each.error === undefined ? '' : ` ${each.error.code}`;
    found.push(name + code);
  }
  return found.sort();
}

describe('walkImages()', () => {
  testNeeding(posix)('goes on past what can not be read, and says of each why', async () => {
    expect(await withoutRoot(() => walk(at('lib')))).toEqual([
      'lib/a/x.jpg',
      'lib/b\\c/x.jpg',
      'lib/circle.jpg ERR_IMAGE_FORBIDDEN',
      'lib/dangling.jpg ERR_IMAGE_NOT_FOUND',
      'lib/locked ERR_IMAGE_READ',
      'lib/z/x.jpg',
    ]);
  });

  testNeeding(posix)('tells of a FIFO with the ending of an image, and does not open it', async () => {
    await mkdir(at('fifo'));
    execFileSync('mkfifo', [at('fifo', 'pipe.jpg')]);
    expect(await walk(at('fifo'))).toEqual(['fifo/pipe.jpg ERR_IMAGE_UNSUPPORTED']);
  });

  test('tells of a folder that has gone since it was listed', async () => {
    await mkdir(at('going', 'inner'), { recursive: true });
    await writeFile(at('going', 'a.jpg'), '');
    const seen: (string | undefined)[] = [];
    for await (const each of walkImages(at('going'), { endings: imageFileEndings })) {
      seen.push(`${path.basename(each.path)} ${each.error?.code}`);
      await rm(at('going', 'inner'), { recursive: true, force: true });
    }
    expect(seen).toEqual(['a.jpg undefined', 'inner ERR_IMAGE_NOT_FOUND']);
  });

  testNeeding(posix)('refuses a root that can not be read, with the reason', async () => {
    const failure = (root: string): Promise<unknown> =>
      withoutRoot(() => walk(root)).then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(await failure(at('lib', 'locked'))).toMatchObject({
      code: 'ERR_IMAGE_READ',
      message: expect.stringMatching(/permission denied \(EACCES\)$/),
    });
    expect(await failure(at('nowhere'))).toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND' });
    expect(await failure(at('lib', 'a', 'x.jpg'))).toMatchObject({
      code: 'ERR_IMAGE_NOT_FOUND',
      message: expect.stringMatching(/it is not a folder$/),
    });
  });

  test('enters a folder of the system only when it is the root', async () => {
    expect(await walk(at('lib', '@eaDir'))).toEqual(['lib/@eaDir/x.jpg']);
  });

  test('leaves out what is excluded, with all that is in it, before it is opened', async () => {
    const found: string[] = [];
    const isExcluded = (file: string): boolean => path.basename(file) === 'locked' || file.endsWith('dangling.jpg');
    const passed: string[] = [];
    const options = {
      endings: imageFileEndings,
      isExcluded,
      onPassedOver: (file: string, why: string) => passed.push(`${path.basename(file)} ${why}`),
    };
    await withoutRoot(async () => {
      for await (const each of walkImages(at('lib'), options)) if (each.error) found.push(path.basename(each.path));
    });
    expect(found).toEqual(['circle.jpg']);
    expect(passed.sort()).toEqual([
      '#recycle system folder',
      '@eaDir system folder',
      'dangling.jpg excluded',
      'locked excluded',
    ]);
  });

  testNeeding(linux)('finds names that are not UTF-8, in folders whose names are none', async () => {
    const odd = Buffer.concat([Buffer.from(at('odd')), Buffer.from('/d\xff', 'latin1')]);
    await mkdir(at('odd'));
    await mkdir(odd);
    await writeFile(Buffer.concat([odd, Buffer.from('/caf\xe9.jpg', 'latin1')]), '');
    expect(await walk(at('odd'))).toEqual([decodePath(Buffer.from('odd/d\xff/caf\xe9.jpg', 'latin1'))]);
  });
});

test('imageFilesIn() gives only what can be read when nobody asks for errors', async () => {
  const found: string[] = [];
  await withoutRoot(async () => {
    for await (const file of imageFilesIn(at('lib'))) found.push(path.relative(at('lib'), file));
  });
  expect(found.sort()).toEqual(['a/x.jpg', 'b\\c/x.jpg', 'z/x.jpg']);
});

testNeeding(posix)(
  'ImageEmbeddingPool.embedImages() answers what a folder holds and can not be read beside the rest',
  async () => {
    const pool = createImageEmbeddingPool({ workers: { max: 1 } });
    // Before root is given up: the worker may not be able to read its own modules as another user.
    await pool.warm();
    const results: string[] = [];
    await withoutRoot(async () => {
      for await (const { input, error } of pool.embedImages(at('lib'))) {
        results.push(`${path.relative(at('lib'), input)} ${(error as { code?: string } | undefined)?.code}`);
      }
      await expect(pool.embedImages(at('lib', 'locked')).next()).rejects.toMatchObject({ code: 'ERR_IMAGE_READ' });
    });
    await pool.close();
    // The files are empty.
    expect(results.sort()).toEqual([
      'a/x.jpg ERR_IMAGE_CORRUPT',
      'b\\c/x.jpg ERR_IMAGE_CORRUPT',
      'circle.jpg ERR_IMAGE_FORBIDDEN',
      'dangling.jpg ERR_IMAGE_NOT_FOUND',
      'locked ERR_IMAGE_READ',
      'z/x.jpg ERR_IMAGE_CORRUPT',
    ]);
  },
  30_000,
);

testNeeding(linux)(
  'ImageEmbeddingPool embeds files whose names are not UTF-8, found in a folder or named by a file URL',
  async () => {
    const odd = Buffer.concat([Buffer.from(at()), Buffer.from('/names/caf\xe9.jpg', 'latin1')]);
    await mkdir(at('names'));
    await writeFile(odd, await readFile(new URL('../../../examples/photos/cat-1.jpg', import.meta.url)));
    const pool = createImageEmbeddingPool({ workers: { max: 1 }, limits: { roots: [at('names')] } });
    const { value: found } = await pool.embedImages(at('names')).next();
    expect(found).toMatchObject({ input: decodePath(odd), embedding: { length: 256 } });
    const url = new URL(`file://${encodeURI(at('names'))}/caf%E9.jpg`);
    for (const input of [url, decodePath(odd)]) {
      expect(await pool.embedImage(input)).toEqual((found as { embedding: Float32Array }).embedding);
    }
    await pool.close();
  },
  30_000,
);
