import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { writeTestModel } from '../../../scripts/make-test-models.js';
import { OnnxBuilder } from '../../../scripts/onnx/onnx-builder.js';
import { FileLock } from '../../../src/image-embedding/file-lock.js';
import { createImageEmbeddingPool, createModelSpec, prepareModel } from '../../../src/image-embedding/index.js';
import { EmbeddingSession } from '../../../src/image-embedding/inference/session.js';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import type { ModelSpec } from '../../../src/image-embedding/model/model-spec.js';
import {
  type PrepareOptions,
  prepareFile,
  requirePrepareOption,
  requirePrepareOptions,
  verifyPreparedFile,
} from '../../../src/image-embedding/prepare/prepare.js';
import {
  findPrepared,
  preparedKey,
  thisMachine,
  writePrepared,
} from '../../../src/image-embedding/prepare/prepared-cache.js';

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
  return requirePrepareOptions('Test', { cacheDir, minBytes: 1, ...more });
}

async function prepared(more: PrepareOptions = {}, model: ModelSpec = spec): Promise<string> {
  const folder = await prepareFile(model, {}, settings(more));
  if (folder === undefined) throw new Error('nothing was prepared');
  return folder;
}

/** A model that multiplies the average of each colour with weights from a file of their own. */
function externalModel(location: string): Uint8Array {
  const builder = new OnnxBuilder();
  builder.input('image', 'float32', ['batch', 3, 8, 8]);
  const weight = builder.externalWeight('weight', [3, 400], location);
  const flat = builder.node('Flatten', [builder.node('GlobalAveragePool', ['image'])], { axis: 1 });
  builder.node('MatMul', [flat, weight], {}, 'features');
  builder.output('features', 'float32', ['batch', 400]);
  return builder.build({ name: 'external', doc: '' });
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
    const image = Uint8Array.from({ length: 3 * 32 * 32 }, (_, index) => (index * 7919) % 256);
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

  test('is done once by racing calls of one process', async () => {
    const warnings = await warningsOf(async () => {
      const folders = await Promise.all([prepared(), prepared(), prepared()]);
      expect(new Set(folders).size).toBe(1);
    });
    expect(warnings).toEqual([]);
    expect(await entries()).toHaveLength(1);
  });

  test('goes on at once where another process was killed in the middle of it', async () => {
    const script = fileURLToPath(new URL('./prepare-child-race.mjs', import.meta.url));
    // In a group of its own, so that the process that it has started for this is killed with it.
    const child = spawn(process.execPath, [script, path.join(below, 'tiny-clip'), cacheDir], { detached: true });
    const isUnderWay = async () => (await readdir(cacheDir).catch(() => [])).some((name) => name.endsWith('.tmp'));
    while (!(await isUnderWay())) await new Promise((resolve) => setTimeout(resolve, 1));
    const gone = once(child, 'exit');
    process.kill(-(child.pid as number), 'SIGKILL');
    await gone;
    const left = (await readdir(cacheDir)).filter((name) => name.endsWith('.tmp'));
    expect(left).toHaveLength(1);
    await utimes(path.join(cacheDir, left[0] as string), 1, 1);
    const folder = await prepared();
    expect((await readdir(cacheDir)).sort()).toEqual([path.basename(folder), 'digests'].sort());
  }, 30_000);

  test('tells apart what weights in a file of their own hold, and counts them', async () => {
    const file = path.join(below, 'external.onnx');
    const weights = path.join(below, 'inner', 'weights.raw');
    await mkdir(path.dirname(weights));
    await writeFile(weights, new Uint8Array(new Float32Array(3 * 400).fill(1).buffer));
    await writeFile(file, externalModel('inner/weights.raw'));
    const external = createModelSpec({ file, size: 8 });
    expect(await prepareFile(external, {}, settings({ minBytes: 6_000 }))).toBeUndefined();
    const first = await prepared({ minBytes: 4_800 }, external);
    await writeFile(weights, new Uint8Array(new Float32Array(3 * 400).fill(2).buffer));
    const second = await prepared({ minBytes: 4_800 }, external);
    expect(second).not.toBe(first);
    const session = await EmbeddingSession.load(external, {}, second);
    expect((await session.run([new Uint8Array(3 * 64).fill(255)]))[0]?.[0]).toBeCloseTo(6, 5);
    await session.dispose();
  });

  test('reads no weights outside of the folder of the model', async () => {
    const file = path.join(below, 'inner', 'external.onnx');
    await mkdir(path.dirname(file));
    await writeFile(file, externalModel('../secret'));
    const warnings = await warningsOf(async () => {
      expect(await prepareFile(createModelSpec({ file, size: 8 }), {}, settings())).toBeUndefined();
    });
    expect(warnings.join()).toContain('outside its folder');
  });

  test('makes a new file rather than write to one that is mapped', async () => {
    const folder = await prepared();
    const image = new Uint8Array(3 * 32 * 32).fill(200);
    const session = await EmbeddingSession.load(spec, {}, folder);
    const [before] = await session.run([image]);
    const { ino } = await stat(path.join(folder, 'weights.bin'));
    expect(await prepareFile(spec, {}, settings(), { isForced: true })).toBe(folder);
    expect((await stat(path.join(folder, 'weights.bin'))).ino).not.toBe(ino);
    expect((await session.run([image]))[0]).toEqual(before);
    await session.dispose();
  });

  test('does not use an entry in the place of another', async () => {
    const first = await prepared();
    const other = await readModelFolder(await writeTestModel('tiny-vit', below));
    const second = await prepared({}, other);
    await rm(second, { recursive: true });
    await rename(first, second);
    const made = await madeAt(second);
    expect(await prepared({}, other)).toBe(second);
    expect(await madeAt(second)).not.toBe(made);
  });

  test.runIf(process.getuid?.() === 0)("does not use what is another user's", async () => {
    const folder = await prepared();
    const made = await madeAt(folder);
    await chown(path.join(folder, 'weights.bin'), 12345, 12345);
    expect(await prepared()).toBe(folder);
    expect(await madeAt(folder)).not.toBe(made);
  });

  test('keeps another model, and a changed one, apart', async () => {
    const first = await prepared();
    const other = await readModelFolder(await writeTestModel('tiny-vit', below));
    expect(await prepared({}, other)).not.toBe(first);
    await writeFile(spec.file, await readFile(other.file));
    expect(await prepared()).toBe(await prepared({}, other));
  });

  test.each([
    ['has another time', async (folder: string) => utimes(path.join(folder, 'weights.bin'), 1, 1)],
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
    await prepared();
    for (const folder of [first, second]) await utimes(path.join(folder, 'used'), 1, 1);
    expect(await prepared({}, other)).toBe(second);
    const third = await readModelFolder(await writeTestModel('tiny-dinov2', below));
    const newest = await prepared({ maxBytes: Math.round(size * 2.5) }, third);
    expect((await entries()).sort()).toEqual([second, newest].map((folder) => path.basename(folder)).sort());
  });

  test('leaves alone what is small, off, or for another provider', async () => {
    expect(await prepareFile(spec, {}, settings({ minBytes: 10_000_000 }))).toBeUndefined();
    expect(await prepareFile(spec, { executionProviders: ['cuda', 'cpu'] }, settings())).toBeUndefined();
    expect(await prepareFile(spec, { graphOptimizationLevel: 'basic' }, settings())).toBeUndefined();
    expect(requirePrepareOption('Test', 'off')).toBeUndefined();
    expect(requirePrepareOption('Test', 'auto')).toEqual(requirePrepareOptions('Test', undefined));
    expect(() => requirePrepareOption('Test', 'on' as never)).toThrow(RangeError);
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

describe('preparedKey()', () => {
  test('is of the content, the version of onnxruntime and the CPU', async () => {
    const cache = { folder: cacheDir, maxBytes: 20e9 };
    const machine = await thisMachine();
    expect(machine.runtime).toMatch(/^\d+\.\d+/);
    const keys = [
      await preparedKey(cache, spec.file),
      await preparedKey(cache, spec.file, { ...machine, runtime: '0.0.0' }),
      await preparedKey(cache, spec.file, { ...machine, cpu: 'abacus' }),
      await preparedKey(cache, (await readModelFolder(await writeTestModel('tiny-vit', below))).file),
    ];
    expect(new Set(keys).size).toBe(4);
    expect(await preparedKey(cache, spec.file, machine)).toBe(keys[0]);
  });
});

describe('writePrepared()', () => {
  test('shows an entry once it is whole, and nothing of one that failed', async () => {
    const cache = { folder: cacheDir, maxBytes: 20e9 };
    const key = 'a'.repeat(40);
    const fill = async (folder: string) => {
      await writeFile(path.join(folder, 'model.onnx'), 'graph');
      expect(await findPrepared(cache, key)).toBeUndefined();
      await writeFile(path.join(folder, 'weights.bin'), 'weights');
      expect(await findPrepared(cache, key)).toBeUndefined();
    };
    const failing = async (folder: string) => {
      await fill(folder);
      throw new Error('the disk is full');
    };
    await expect(writePrepared(cache, key, failing)).rejects.toThrow('the disk is full');
    expect(await readdir(cacheDir)).toEqual([]);
    expect(await writePrepared(cache, key, fill)).toBe(await findPrepared(cache, key));
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
      expect(await session.run([new Uint8Array(3 * 32 * 32)])).toHaveLength(1);
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

  test('.destroy() answers calls whose model is being prepared', async () => {
    const cache = { folder: cacheDir, maxBytes: 20e9 };
    await mkdir(cacheDir);
    const lock = await FileLock.tryTake(path.join(cacheDir, `${await preparedKey(cache, spec.file)}.lock`));
    const pool = createImageEmbeddingPool({ model: spec, workers: 1, prepare: { cacheDir, minBytes: 1 } });
    const call = pool.embedImage(photo);
    const refused = expect(call).rejects.toMatchObject({ code: 'ERR_POOL_CLOSED' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await pool.destroy();
    await refused;
    if (lock instanceof FileLock) await lock.release();
  });
});
