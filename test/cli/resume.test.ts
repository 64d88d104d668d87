import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { UsageError } from '../../src/cli/errors.js';
import { formatRecord, parseRecord } from '../../src/cli/output/record.js';
import { isSameModel, readHeldOutput, requireHeldModel } from '../../src/cli/output/resume.js';
import type { ModelIdentity } from '../../src/image-embedding/index.js';
import { tempFolder } from '../support/temp-folder.js';

const model: ModelIdentity = {
  name: 'one',
  digest: '0123',
  dtype: 'fp32',
  preprocess: 'fast',
  normalized: true,
  dimensions: 3,
};
const vectors = { a: [0.6, 0.8, 0], b: [0, 0.6, 0.8], c: [0.8, 0, 0.6] };

const at = tempFolder('held');

/** An output that holds a vector for each of `a`, `b`, `c`, with what it says of its model. */
async function holding(...models: readonly (ModelIdentity | undefined)[]) {
  const out = at('held.jsonl');
  const records = Object.entries(vectors).map(([name, vector], index) =>
    formatRecord({ path: name, embedding: Float32Array.from(vector), model: models[index] ?? models[0] }),
  );
  await writeFile(out, records.map((line) => `${line}\n`).join(''));
  return await readHeldOutput(out);
}

/** Embeds as the model does that made them, turned by an angle. */
const embedder =
  (turn = 0, missing: readonly string[] = []) =>
  async (name: string): Promise<Float32Array> => {
    if (missing.includes(name)) throw new Error('no such file');
    const [x = 0, y = 0, z = 0] = vectors[name as keyof typeof vectors];
    return Float32Array.of(x * Math.cos(turn) - y * Math.sin(turn), x * Math.sin(turn) + y * Math.cos(turn), z);
  };

describe('requireHeldModel()', () => {
  test('takes the same model by any name and revision', async () => {
    const held = await holding({ ...model, name: 'other', revision: 'abc' });
    await requireHeldModel('held.jsonl', held, model, embedder(1));
  });

  test.each<[what: string, other: Partial<ModelIdentity>]>([
    ['weights', { digest: '4567' }],
    ['preprocessing', { preprocess: 'exact' }],
    ['scaling', { normalized: false }],
  ])('refuses another %s, and names both', async (_what, other) => {
    const held = await holding({ ...model, ...other });
    const refused = requireHeldModel('held.jsonl', held, model, embedder());
    await expect(refused).rejects.toBeInstanceOf(UsageError);
    await expect(refused).rejects.toThrow(
      /it holds vectors of one \(fp32, preprocess .*, and this run's are of one \(/,
    );
  });

  test('compares a picture where the output does not say its model', async () => {
    const held = await holding(undefined);
    expect(held.model).toBeUndefined();
    await requireHeldModel('held.jsonl', held, model, embedder());
    await requireHeldModel('held.jsonl', held, model, embedder(0.001, ['a', 'b']));
    await expect(requireHeldModel('held.jsonl', held, model, embedder(0.2))).rejects.toThrow(
      /does not say which model its vectors are of, and this one .* gives others for the same pictures/,
    );
    await expect(requireHeldModel('held.jsonl', held, model, embedder(0, ['a', 'b', 'c']))).rejects.toThrow(
      /none of its first pictures can be embedded again/,
    );
  });

  test('compares lengths too: vectors that are not scaled are another space', async () => {
    const scaled = async (name: string) => (await embedder()(name)).map((each) => each * 7);
    const held = await holding(undefined);
    await expect(requireHeldModel('held.jsonl', held, model, scaled)).rejects.toThrow(/gives others/);
  });

  test('goes on where one picture was edited since', async () => {
    const held = await holding(undefined);
    const edited = (name: string) => embedder(name === 'a' ? 1 : 0)(name);
    await requireHeldModel('held.jsonl', held, model, edited);
  });

  test('has nothing against an output without vectors', async () => {
    const out = at('errors.jsonl');
    await writeFile(out, '{"path":"a","error":{"code":"ERR_IMAGE_READ","message":"no"}}\n');
    await requireHeldModel(out, await readHeldOutput(out), model, embedder(1));
  });
});

test('readHeldOutput() refuses an output of two models', async () => {
  await expect(holding(model, { ...model, name: 'two', digest: '4567' })).rejects.toThrow(
    /line 2 is of two \(.*digest 4567\), those before it of one/,
  );
  expect((await holding(undefined, model, undefined)).model).toEqual(model);
});

test('formatRecord() writes the model, and parseRecord() reads it back', () => {
  const record = { path: 'a', embedding: Float32Array.of(1), model };
  expect(formatRecord(record)).toMatch(/^\{"path":"a","model":\{"name":"one",.*\},"dim":1,"embedding":\[1\]\}$/);
  expect(parseRecord(formatRecord(record))).toEqual(record);
  expect(parseRecord('{"path":"a","model":7,"dim":1,"embedding":[1]}')).toEqual({
    path: 'a',
    embedding: Float32Array.of(1),
  });
});

test('formatRecord() writes one line for every reader', () => {
  const path = 'a\u2028b\u2029c\u0085d\u000b\u001c\n.jpg';
  for (const record of [
    { path, embedding: Float32Array.of(1) },
    { path: 'x', error: { code: 'ERR_IMAGE_READ', message: path } },
  ]) {
    const line = formatRecord(record);
    expect([...line].filter((each) => each < ' ' || '\u0085\u2028\u2029'.includes(each))).toEqual([]);
    expect(parseRecord(line)).toEqual(record);
  }
});

test('isSameModel() goes by what decides a vector', () => {
  expect(isSameModel(model, { ...model, name: 'x', revision: 'y', dtype: 'q8' })).toBe(true);
  expect(isSameModel(model, { ...model, dimensions: 4 })).toBe(false);
});
