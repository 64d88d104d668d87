import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { parquetReadObjects } from 'hyparquet';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openWriter, outputFormat } from '../../src/cli/output/open-writer.js';
import type { EmbedRecord } from '../../src/cli/output/record.js';

let folder = '';
const at = (name: string): string => path.join(folder, name);
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace formats ü '));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const bad = (name: string): EmbedRecord => ({ path: name, error: { code: 'ERR_IMAGE_CORRUPT', message: 'torn' } });
const good = (name: string, ...embedding: number[]): EmbedRecord => ({
  path: name,
  embedding: Float32Array.from(embedding),
});

async function writeAll(file: string, records: readonly EmbedRecord[]): Promise<void> {
  const writer = await openWriter(file, new PassThrough());
  for (const record of records) await writer.write(record);
  await writer.close();
}

test('outputFormat() goes by the ending, and refuses one it does not know', () => {
  expect(['-', 'a.jsonl', 'a.NPY', 'b.c/a', 'a.parquet'].map(outputFormat)).toEqual([
    'jsonl',
    'jsonl',
    'npy',
    'jsonl',
    'parquet',
  ]);
  expect(() => outputFormat('')).toThrow('the name of the output is empty');
  expect(() => outputFormat('a.csv')).toThrow(/the ending must be .jsonl, .npy or .parquet, received '.csv'/);
});

describe('NpyWriter', () => {
  test('writes one row for each input, NaN where it failed, even before the first embedding', async () => {
    await writeAll(at('v.npy'), [bad('a'), good('b', 1, 2, 3), bad('c'), good('ü', 4, 5, 6)]);
    const bytes = await readFile(at('v.npy'));
    expect(bytes.subarray(0, 8).toString('latin1')).toBe('\u0093NUMPY\u0001\u0000');
    expect((bytes.readUInt16LE(8) + 10) % 64).toBe(0);
    expect(bytes.toString('latin1', 10, 128)).toMatch(
      /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(4, 3\), \} *\n$/,
    );
    const values = Array.from({ length: 12 }, (_, index) => bytes.readFloatLE(128 + index * 4));
    expect(values).toEqual([NaN, NaN, NaN, 1, 2, 3, NaN, NaN, NaN, 4, 5, 6]);
    expect(
      (await readFile(at('v.npy.jsonl'), 'utf8'))
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([bad('a'), { path: 'b' }, bad('c'), { path: 'ü' }]);
  });
});

describe('ParquetFileWriter', () => {
  test('writes rows that a reader gives back, over several row groups', async () => {
    const records = Array.from({ length: 600 }, (_, index) =>
      index % 7 === 3 ? bad(`${index}`) : good(`写真 ${index}`, index, -0.5, 0.1),
    );
    await writeAll(at('v.parquet'), records);
    const bytes = await readFile(at('v.parquet'));
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    const rows = await parquetReadObjects({ file });
    expect(rows).toHaveLength(600);
    for (const [index, row] of rows.entries()) {
      const record = records[index] as EmbedRecord;
      expect({ ...row, embedding: row.embedding ?? null }).toEqual(
        'error' in record
          ? { path: record.path, embedding: null, error_code: 'ERR_IMAGE_CORRUPT', error_message: 'torn' }
          : { path: record.path, embedding: [...record.embedding], error_code: null, error_message: null },
      );
    }
  });
});

describe.each(['v.npy', 'v.parquet'])('an output as %s', (name) => {
  test('replaces a file only once it is complete, and leaves nothing else behind', async () => {
    await writeFile(at(name), 'precious');
    const writer = await openWriter(at(name), new PassThrough());
    await writer.write(good('a', 1));
    expect(await readFile(at(name), 'utf8')).toBe('precious');
    await writer.close();
    expect(await readFile(at(name), 'utf8')).not.toBe('precious');
    expect((await readdir(folder)).filter((each) => each.endsWith('.partial'))).toEqual([]);
  });

  test('is left beside the file when the run broke off', async () => {
    await writeFile(at(name), 'precious');
    const writer = await openWriter(at(name), new PassThrough());
    await writer.write(good('a', 1));
    await writer.close(false);
    expect(await readFile(at(name), 'utf8')).toBe('precious');
    const partial = await readFile(`${at(name)}.partial`);
    expect(partial.toString('latin1', 0, 6)).toMatch(/NUMPY|^PAR1/);
    await rm(`${at(name)}.partial`);
    await rm(`${at(name)}.jsonl.partial`, { force: true });
  });

  test('is left alone by a run that gives nothing', async () => {
    await writeFile(at(name), 'precious');
    await writeAll(at(name), []);
    expect(await readFile(at(name), 'utf8')).toBe('precious');
    expect(await readdir(folder)).toEqual([name]);
  });
});
