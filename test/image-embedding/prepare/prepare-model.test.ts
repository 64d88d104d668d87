import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { writeTestModel } from '../../../scripts/make-test-models.js';
import { createImageEmbeddingPool, prepareModel } from '../../../src/image-embedding/index.js';
import { EmbeddingSession } from '../../../src/image-embedding/inference/session.js';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import type { ModelSpec } from '../../../src/image-embedding/model/model-spec.js';
import {
  type PrepareOptions,
  prepareFile,
  requirePrepareOptions,
  verifyPreparedFile,
} from '../../../src/image-embedding/prepare/prepare-model.js';

const run = promisify(execFile);
const photo = fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url));

let below: string;
let cacheDir: string;
let spec: ModelSpec;

beforeEach(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-prepare-'));
  cacheDir = path.join(below, 'cache');
  spec = await readModelFolder(await writeTestModel('tiny-clip', below));
});

afterEach(async () => {
  await rm(below, { recursive: true, force: true });
});

function settings(more: PrepareOptions = {}) {
  const filled = requirePrepareOptions('Test', { cacheDir, minBytes: 1, ...more });
  if (filled === undefined) throw new Error('nothing is to be prepared');
  return filled;
}

async function prepared(more: PrepareOptions = {}, model: ModelSpec = spec): Promise<string> {
  const folder = await prepareFile(model, {}, settings(more));
  if (folder === undefined) throw new Error('nothing was prepared');
  return folder;
}

const entries = async () => (await readdir(cacheDir)).filter((name) => /^[0-9a-f]{40}/.test(name));
const madeAt = async (folder: string) => (await stat(path.join(folder, 'manifest.json'))).mtimeMs;

/** The warnings that something raises. */
async function warningsOf(act: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = [];
  const note = (warning: Error) => warnings.push(warning.message);
  process.on('warning', note);
  try {
    await act();
    await new Promise((resolve) => setImmediate(resolve));
    return warnings;
  } finally {
    process.off('warning', note);
  }
}

describe('prepareFile()', () => {
  test('prepares a model once, and it gives the same numbers', async () => {
    const folder = await prepared();
    expect((await readdir(folder)).sort()).toEqual(['manifest.json', 'model.onnx', 'used', 'weights.bin']);
    const made = await madeAt(folder);
    expect(await prepared()).toBe(folder);
    expect(await madeAt(folder)).toBe(made);
    expect(await entries()).toHaveLength(1);
    expect(await verifyPreparedFile(spec.file, settings())).toBe(true);
    const image = Float32Array.from({ length: 3 * 32 * 32 }, (_, index) => ((index * 7919) % 1000) / 500 - 1);
    const [plain, mapped] = await Promise.all([EmbeddingSession.load(spec), EmbeddingSession.load(spec, {}, folder)]);
    const [[one], [other]] = await Promise.all([plain.run([image]), mapped.run([image])]);
    for (const [index, value] of (one as Float32Array).entries()) expect(other?.[index]).toBeCloseTo(value, 5);
    await Promise.all([plain.dispose(), mapped.dispose()]);
  });

  test('is done once by racing processes', async () => {
    const child = fileURLToPath(new URL('./prepare-child-race.mjs', import.meta.url));
    const answers = await Promise.all(
      [1, 2, 3].map(() => run(process.execPath, [child, path.join(below, 'tiny-clip'), cacheDir])),
    );
    expect(new Set(answers.map(({ stdout }) => stdout)).size).toBe(1);
    expect(await entries()).toHaveLength(1);
    expect(await verifyPreparedFile(spec.file, settings())).toBe(true);
  }, 30_000);

  test('keeps another model, and a changed one, apart', async () => {
    const first = await prepared();
    const other = await readModelFolder(await writeTestModel('tiny-vit', below));
    expect(await prepared({}, other)).not.toBe(first);
    await writeFile(spec.file, await readFile(other.file));
    expect(await prepared()).toBe(await prepared({}, other));
  });

  test.each([
    ['is cut short', async (folder: string) => truncate(path.join(folder, 'weights.bin'), 100)],
    ['was changed', async (folder: string) => writeFile(path.join(folder, 'model.onnx'), 'x')],
    ['has no manifest', async (folder: string) => rm(path.join(folder, 'manifest.json'))],
    ['has a broken manifest', async (folder: string) => writeFile(path.join(folder, 'manifest.json'), '{')],
    ['may be written by others', async (folder: string) => chmod(path.join(folder, 'weights.bin'), 0o666)],
    ['lies in a folder that may be', async (folder: string) => chmod(folder, 0o777)],
  ] as const)('makes an entry again that %s', async (_, damage) => {
    const folder = await prepared();
    await damage(folder);
    expect(await prepared()).toBe(folder);
    expect(await verifyPreparedFile(spec.file, settings())).toBe(true);
    const session = await EmbeddingSession.load(spec, {}, folder);
    await session.dispose();
  });

  test('finds a change that size and time do not tell when it is asked to verify', async () => {
    const folder = await prepared();
    const file = path.join(folder, 'weights.bin');
    const { atime, mtime } = await stat(file);
    const bytes = await readFile(file);
    bytes[0] = (bytes[0] as number) ^ 0xff;
    await writeFile(file, bytes);
    await utimes(file, atime, mtime);
    expect(await verifyPreparedFile(spec.file, settings())).toBe(false);
  });

  test('removes the longest unused entries when the cache is too large', async () => {
    const first = await prepared();
    const size = (await stat(path.join(first, 'weights.bin'))).size;
    await utimes(path.join(first, 'used'), 1, 1);
    const other = await readModelFolder(await writeTestModel('tiny-vit', below));
    const second = await prepared({ maxBytes: Math.round(size * 1.5) }, other);
    expect(await entries()).toEqual([path.basename(second)]);
  });

  test('leaves alone what is small, off, or for another provider', async () => {
    expect(await prepareFile(spec, {}, settings({ minBytes: 10_000_000 }))).toBeUndefined();
    expect(await prepareFile(spec, { executionProviders: ['cuda', 'cpu'] }, settings())).toBeUndefined();
    expect(await prepareFile(spec, { graphOptimizationLevel: 'basic' }, settings())).toBeUndefined();
    expect(requirePrepareOptions('Test', 'off')).toBeUndefined();
    expect(() => requirePrepareOptions('Test', 'on' as never)).toThrow(RangeError);
    expect(() => requirePrepareOptions('Test', { folder: 'x' } as never)).toThrow(TypeError);
  });

  test('warns and goes on where it can not', async () => {
    await writeFile(path.join(below, 'damaged.onnx'), 'no model');
    const damaged = await warningsOf(async () => {
      expect(await prepareFile({ ...spec, file: path.join(below, 'damaged.onnx') }, {}, settings())).toBeUndefined();
    });
    expect(damaged.join()).toContain('could not be prepared');
    const blocked = path.join(below, 'file');
    await writeFile(blocked, '');
    const warnings = await warningsOf(async () => {
      expect(await prepareFile(spec, {}, settings({ cacheDir: blocked }))).toBeUndefined();
    });
    expect(warnings.join()).toContain('could not be prepared');
  });
});

describe('prepareModel()', () => {
  test('prepares by any name of a model, and makes again what does not hold against its digests', async () => {
    const source = path.join(below, 'tiny-clip');
    const first = await prepareModel(source, { cacheDir, minBytes: 1 });
    expect(first).toMatchObject({ folder: await prepared(), isVerified: undefined });
    const file = path.join(first.folder as string, 'weights.bin');
    const { atime, mtime } = await stat(file);
    const bytes = await readFile(file);
    bytes[0] = (bytes[0] as number) ^ 0xff;
    await writeFile(file, bytes);
    await utimes(file, atime, mtime);
    expect((await prepareModel(source, { cacheDir, minBytes: 1, verify: true })).isVerified).toBe(false);
    expect((await prepareModel(source, { cacheDir, minBytes: 1, verify: true })).isVerified).toBe(true);
    await expect(prepareModel(source, { check: true } as never)).rejects.toThrow("unknown option 'check'");
    await expect(prepareModel(path.join(below, 'nowhere'))).rejects.toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' });
  });
});

describe('EmbeddingSession.load()', () => {
  test('loads the model itself when the prepared one can not be, with a warning', async () => {
    const folder = await prepared();
    await writeFile(path.join(folder, 'model.onnx'), 'no model');
    const warnings = await warningsOf(async () => {
      const session = await EmbeddingSession.load(spec, {}, folder);
      expect(await session.run([new Float32Array(3 * 32 * 32)])).toHaveLength(1);
      await session.dispose();
    });
    expect(warnings.join()).toContain('could not be loaded');
  });
});

describe('ImageEmbeddingPool', () => {
  test('runs prepared models in its workers', async () => {
    const pool = createImageEmbeddingPool({ model: spec, workers: 1, prepare: { cacheDir, minBytes: 1 } });
    const plain = createImageEmbeddingPool({ model: spec, workers: 1, prepare: 'off' });
    const [one, other] = await Promise.all([pool.embedImage(photo), plain.embedImage(photo)]);
    for (const [index, value] of one.entries()) expect(other[index]).toBeCloseTo(value, 5);
    expect(await entries()).toHaveLength(1);
    await Promise.all([pool.close(), plain.close()]);
  }, 30_000);
});
