/** Models prepared where a container's image is built, and used in the container: by another user, from copies, on read-only mounts. */
import { execFile } from 'node:child_process';
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { writeTestModel } from '../../../scripts/make-test-models.js';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import { prepareFile, requirePrepareOptions } from '../../../src/image-embedding/prepare/prepare.js';
import { mountNamespaces, posix, program, root, testNeeding } from '../../support/needs.js';

const run = promisify(execFile);
const child = fileURLToPath(new URL('./prepare-child-race.mjs', import.meta.url));
const OTHER_USER = 12_345;

let below: string;
let model: string;
let cacheDir: string;
let entry: string;

beforeEach(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-elsewhere-'));
  await chmod(below, 0o755);
  model = await writeTestModel('tiny-clip', below);
  cacheDir = path.join(below, 'cache');
  entry = await prepare(cacheDir);
});

afterEach(() => rm(below, { recursive: true, force: true }));

async function prepare(folder: string): Promise<string> {
  const settings = requirePrepareOptions('Test', { cacheDir: folder, minBytes: 1 });
  return String(await prepareFile(await readModelFolder(model), {}, settings));
}

/** What tells whether an entry was made again. */
const madeAs = async (folder: string): Promise<number> => (await stat(path.join(folder, 'weights.bin'))).ino;

describe('prepareFile() of a model that was prepared elsewhere', () => {
  test('uses an entry whose times were cut to the second', async () => {
    const { ino, mtimeMs } = await stat(path.join(entry, 'weights.bin'));
    for (const name of ['weights.bin', 'model.onnx']) {
      await utimes(path.join(entry, name), Math.floor(mtimeMs / 1000), Math.floor(mtimeMs / 1000));
    }
    expect(await prepare(cacheDir)).toBe(entry);
    expect(await madeAs(entry)).toBe(ino);
  });

  test('uses a copy that has other times, and hashes it once', async () => {
    const copy = path.join(below, 'copy');
    await cp(cacheDir, copy, { recursive: true });
    const file = path.join(copy, path.basename(entry), 'weights.bin');
    await utimes(file, 1_000_000_000, 1_000_000_000);
    const { ino } = await stat(file);
    const found = await prepare(copy);
    expect(await madeAs(found)).toBe(ino);
    // The time of the file that was hashed: the next process need not.
    expect((await stat(file)).mtimeMs).toBeGreaterThan(1_000_000_000_000);
  });

  test('makes an entry again that has another time and other content of the same length', async () => {
    const file = path.join(entry, 'weights.bin');
    const bytes = await readFile(file);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    const { ino } = await stat(file);
    await writeFile(file, bytes);
    await utimes(file, 1_000_000_000, 1_000_000_000);
    expect(await prepare(cacheDir)).toBe(entry);
    expect(await madeAs(entry)).not.toBe(ino);
  });

  testNeeding(posix)('writes entries that others can read and nobody else can write', async () => {
    const before = process.umask(0o002);
    try {
      const folder = await prepare(path.join(below, 'shared'));
      const modes = async (...names: readonly string[]): Promise<string[]> =>
        Promise.all(names.map(async (name) => ((await stat(path.join(folder, name))).mode & 0o777).toString(8)));
      expect(await modes('.', '..', '../digests')).toEqual(['755', '755', '755']);
      expect(await modes('weights.bin', 'model.onnx', 'manifest.json', 'used')).toEqual(['644', '644', '644', '644']);
    } finally {
      process.umask(before);
    }
  });

  testNeeding(posix, program('tar'))('uses what went through an archive with whole seconds', async () => {
    const unpacked = path.join(below, 'unpacked');
    await mkdir(unpacked);
    await run('tar', ['--format=ustar', '-cf', path.join(below, 'image.tar'), '-C', cacheDir, '.']);
    await run('tar', ['-xf', path.join(below, 'image.tar'), '-C', unpacked]);
    const made = await madeAs(path.join(unpacked, path.basename(entry)));
    const found = await prepare(unpacked);
    expect(path.dirname(found)).toBe(unpacked);
    expect(await madeAs(found)).toBe(made);
  });

  testNeeding(root, program('setpriv'))(
    'is used by another user than root, who prepared it, without a warning',
    async () => {
      const made = await madeAs(entry);
      const as = ['--reuid', String(OTHER_USER), '--regid', String(OTHER_USER), '--clear-groups'];
      const { stdout, stderr } = await run('setpriv', [...as, process.execPath, child, model, cacheDir]);
      expect([stdout, stderr]).toEqual([entry, '']);
      expect(await madeAs(entry)).toBe(made);
    },
  );

  testNeeding(
    root,
    mountNamespaces,
    program('setpriv'),
  )('is used from a read-only mount, whoever owns it', async () => {
    for (const name of ['.', 'weights.bin', 'model.onnx', 'manifest.json']) {
      await chown(path.join(entry, name), OTHER_USER + 1, OTHER_USER + 1);
    }
    const script = `mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec setpriv --reuid ${OTHER_USER} --clear-groups "$2" "$3" "$4" "$1"`;
    const { stdout, stderr } = await run('unshare', [
      ...['--mount', 'sh', '-c', script, 'sh'],
      ...[cacheDir, process.execPath, child, model],
    ]);
    expect([stdout, stderr]).toEqual([entry, '']);
  });
});
