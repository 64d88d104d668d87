import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isMillraceError } from '../../../src/core/index.js';
import { resolveImageLimits } from '../../../src/image-embedding/sources/limits.js';
import { readSource } from '../../../src/image-embedding/sources/read-source.js';
import { linux, posix, testNeeding } from '../../support/needs.js';

let folder: string;
const limits = resolveImageLimits({ maxBytes: 1000 });

beforeAll(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'millrace-paths-')));
  await mkdir(path.join(folder, 'root/inner'), { recursive: true });
  await mkdir(path.join(folder, 'rootless'));
  await writeFile(path.join(folder, 'root/inner/photo'), 'PHOTO');
  await writeFile(path.join(folder, 'secret'), 'SECRET');
  await writeFile(path.join(folder, 'rootless/secret'), 'SECRET');
  await writeFile(path.join(folder, 'root/empty'), '');
  await writeFile(path.join(folder, 'root/large'), Buffer.alloc(1001));
  await symlink('inner/photo', path.join(folder, 'root/link'));
  await symlink('../secret', path.join(folder, 'root/escape'));
  await symlink(folder, path.join(folder, 'root/up'));
  await symlink('circle', path.join(folder, 'root/circle'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function outcome(file: unknown, roots?: readonly string[]): Promise<string> {
  try {
    return Buffer.from(await readSource('path', file, { ...limits, roots })).toString();
  } catch (error) {
    if (isMillraceError(error)) return error.code;
    if (error instanceof TypeError || error instanceof RangeError) return error.name;
    throw error;
  }
}

describe("readSource('path')", () => {
  it('reads a file, through links too', async () => {
    expect(await outcome(path.join(folder, 'root/inner/photo'))).toBe('PHOTO');
    expect(await outcome(path.join(folder, 'root/link'))).toBe('PHOTO');
    expect(await outcome(path.relative('.', path.join(folder, 'root/link')))).toBe('PHOTO');
  });

  it('has a code for everything that is no file', async () => {
    const at = (name: string): string => path.join(folder, 'root', name);
    expect(await outcome(at('missing'))).toBe('ERR_IMAGE_NOT_FOUND');
    expect(await outcome(at('link/below'))).toBe('ERR_IMAGE_NOT_FOUND');
    expect(await outcome(at('x'.repeat(5000)))).toBe('ERR_IMAGE_NOT_FOUND');
    expect(await outcome(`${at('link')}\0.jpg`)).toBe('ERR_IMAGE_NOT_FOUND');
    expect(await outcome(at('inner'))).toBe('ERR_IMAGE_UNSUPPORTED');
    expect(await outcome(at('empty'))).toBe('ERR_IMAGE_CORRUPT');
    expect(await outcome(at('large'))).toBe('ERR_IMAGE_TOO_LARGE');
    expect(await outcome(at('circle'))).toBe('ERR_IMAGE_FORBIDDEN');
    expect(await outcome('')).toBe('RangeError');
    expect(await outcome(7)).toBe('TypeError');
    expect(await outcome(new URL('file:///etc/hostname'))).toBe('TypeError');
  });

  it('never fetches, and never opens a file: URL', async () => {
    await expect(readSource('path', 'http://127.0.0.1/cat.jpg', limits)).rejects.toThrow(/embedImageUrl/);
    expect(await outcome(`file://${folder}/secret`)).toBe('ERR_IMAGE_NOT_FOUND');
    expect(await outcome('data:image/png;base64,AAAA')).toBe('ERR_IMAGE_NOT_FOUND');
  });

  testNeeding(posix)('does not hang on a FIFO, and opens no device and no socket', async () => {
    const fifo = path.join(folder, 'root/fifo');
    await promisify(execFile)('mkfifo', [fifo]);
    expect(await outcome(fifo)).toBe('ERR_IMAGE_UNSUPPORTED');
    expect(await outcome(fifo, [path.join(folder, 'root')])).toBe('ERR_IMAGE_UNSUPPORTED');
    for (const device of ['/dev/zero', '/dev/null', '/dev/stdin', '/dev/tty', '/dev/full', '/dev/random']) {
      expect(['ERR_IMAGE_UNSUPPORTED', 'ERR_IMAGE_NOT_FOUND', 'ERR_IMAGE_READ']).toContain(await outcome(device));
    }
    const socket = path.join(folder, 'root/socket');
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once('listening', resolve));
    expect(await outcome(socket)).toBe('ERR_IMAGE_UNSUPPORTED');
    server.close();
  });

  testNeeding(linux)('holds the cap for files that claim to be empty', async () => {
    expect(await outcome('/proc/self/maps')).toBe('ERR_IMAGE_TOO_LARGE');
    expect(await outcome('/proc/self/comm')).toMatch(/\S/);
    expect(await outcome('/proc/self/environ', [folder])).toBe('ERR_IMAGE_FORBIDDEN');
  });

  it('stays in the roots, links followed', async () => {
    const roots = [path.join(folder, 'nowhere'), path.join(folder, 'root')];
    const at = (name: string): string => path.join(folder, 'root', name);
    expect(await outcome(at('inner/photo'), roots)).toBe('PHOTO');
    expect(await outcome(at('link'), roots)).toBe('PHOTO');
    expect(await outcome(`${folder}/root/../root/link`, roots)).toBe('PHOTO');
    for (const file of [
      at('escape'),
      at('up/secret'),
      `${folder}/root/../secret`,
      `${folder}/secret`,
      `${folder}/rootless/secret`,
      '/etc/hostname',
    ]) {
      expect([file, await outcome(file, roots)]).toEqual([file, 'ERR_IMAGE_FORBIDDEN']);
    }
    expect(await outcome(at('up/root/link'), roots)).toBe('PHOTO');
    expect(await outcome(at('missing'), roots)).toBe('ERR_IMAGE_NOT_FOUND');
    expect(await outcome(at('link'), [path.join(folder, 'nowhere')])).toBe('ERR_IMAGE_FORBIDDEN');
  });

  it('says the same of a path outside of the roots, be something there or not', async () => {
    const roots = [path.join(folder, 'root')];
    const at = (name: string): string => path.join(folder, name);
    await symlink('../gone', at('root/dangling'));
    await symlink('../rootless/gone/deeper', at('root/dangling-deep'));
    await symlink(at('root/inner/gone'), at('root/dangling-inside'));
    const message = async (file: string): Promise<string> => {
      const error: unknown = await readSource('path', file, { ...limits, roots }).catch((reason: unknown) => reason);
      return (error as Error).message.replace(/".*"/, 'X');
    };
    const there = await message(at('secret'));
    expect(there).toBe('Cannot read image X: it leads out of the allowed roots');
    for (const file of [
      ...['gone', 'gone/deeper', 'secret/below', 'rootless', 'rootless/secret', 'rootless/gone', 'x'.repeat(5000)].map(
        at,
      ),
      ...['root/../gone', 'root/up/gone', 'root/inner/../../gone', 'root/dangling', 'root/dangling-deep'].map(
        (name) => `${folder}/${name}`,
      ),
      '/',
      '/proc/self/nothing',
    ]) {
      expect([file, await message(file)]).toEqual([file, there]);
    }
    // Inside of them it is told.
    for (const name of [
      'root/gone',
      'root/dangling-inside',
      'root/link/below',
      'root/gone/deeper',
      'root/up/root/gone',
    ]) {
      expect([name, await outcome(`${folder}/${name}`, roots)]).toEqual([name, 'ERR_IMAGE_NOT_FOUND']);
    }
  });

  it('never reads outside of the roots while links are being swapped', async () => {
    const roots = [path.join(folder, 'root')];
    const target = path.join(folder, 'root/swapped');
    const inside = path.join(folder, 'root/swap-inside');
    const outside = path.join(folder, 'root/swap-outside');
    let isDone = false;
    const swapping = (async () => {
      while (!isDone) {
        await symlink('inner/photo', inside);
        await rename(inside, target);
        await symlink('../secret', outside);
        await rename(outside, target);
      }
    })();
    const found = new Set<string>();
    for (let round = 0; round < 300; round++) found.add(await outcome(target, roots));
    isDone = true;
    await swapping;
    expect(found.has('SECRET')).toBe(false);
    expect(found.has('PHOTO')).toBe(true);
  });

  it('rejects with the reason of its signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(readSource('path', path.join(folder, 'root/link'), limits, { signal })).rejects.toThrow('enough');
  });
});

describe('readSource()', () => {
  it('takes each kind for what it is', async () => {
    expect(Buffer.from(await readSource('base64', 'UEhPVE8=', limits)).toString()).toBe('PHOTO');
    expect(Buffer.from(await readSource('bytes', Buffer.from('PHOTO'), limits)).toString()).toBe('PHOTO');
    await expect(readSource('url', path.join(folder, 'root/link'), limits)).rejects.toMatchObject({
      code: 'ERR_URL_FORBIDDEN',
    });
    await expect(readSource('file' as 'path', 'x', limits)).rejects.toThrow(RangeError);
  });
});

describe('resolveImageLimits()', () => {
  it('refuses what it does not know and what is out of range', () => {
    expect(() => resolveImageLimits({ maxPixel: 3 } as object)).toThrow(/unknown option 'maxPixel'/);
    expect(() => resolveImageLimits({ url: { redirects: 3 } as object })).toThrow(/unknown option 'redirects'/);
    expect(() => resolveImageLimits({ maxBytes: 0 })).toThrow(RangeError);
    expect(() => resolveImageLimits({ url: { allowHosts: ['http://a.example'] } })).toThrow(TypeError);
    expect(() => resolveImageLimits({ url: { allowHosts: ['a.example/path'] } })).toThrow(TypeError);
    expect(() => resolveImageLimits({ roots: '/srv' as unknown as string[] })).toThrow(TypeError);
    expect(structuredClone(resolveImageLimits())).toEqual(resolveImageLimits());
  });
});
