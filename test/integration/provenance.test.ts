import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parquetMetadata } from 'hyparquet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PHOTOS, ROOT, readRecords, runCli } from './cli-process.js';

const cat = path.join(PHOTOS, 'cat-1.jpg');
const other = path.join(PHOTOS, 'cat-2.jpg');
const IDENTITY = {
  name: 'mobilenet-v1-0.25',
  digest: expect.stringMatching(/^[0-9a-f]{32}$/),
  dtype: 'fp32',
  preprocess: 'fast',
  normalized: true,
  dimensions: 256,
};
let folder = '';
const at = (name: string): string => path.join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace provenance ü '));
  const built = path.join(ROOT, 'models', 'mobilenet-v1-0.25');
  await cp(built, at('same'), { recursive: true });
  await cp(built, at('other'), { recursive: true });
  const file = path.join(at('other'), 'preprocessor_config.json');
  const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify({ ...config, rescale_factor: 0.002 }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('millrace embed says of which model its vectors are', { timeout: 60_000 }, () => {
  test('in lines of JSON, and --resume goes on with that model only', async () => {
    const out = at('v.jsonl');
    const resume = (...more: string[]) => runCli(['embed', cat, other, '--out', out, '--resume', ...more]);
    expect(await runCli(['embed', cat, '--out', out])).toMatchObject({ code: 0 });
    expect(await readRecords(out)).toMatchObject([{ path: cat, model: IDENTITY }]);
    const before = await readFile(out, 'utf8');
    for (const more of [['--model', at('other')], ['--preprocess', 'exact'], ['--no-normalize']]) {
      const ended = await resume(...more);
      expect(ended.stderr).toMatch(/Cannot resume .*: it holds vectors of mobilenet-v1-0\.25 \(/);
      expect(ended.code).toBe(2);
      expect(await readFile(out, 'utf8')).toBe(before);
    }
    expect(await resume('--model', at('same'))).toMatchObject({ code: 0 });
    expect(await readRecords(out)).toMatchObject([{ model: IDENTITY }, { model: { ...IDENTITY, name: 'same' } }]);
  });

  test('and finds out which it was of an output that does not say it', async () => {
    const out = at('old.jsonl');
    await runCli(['embed', cat, '--out', out]);
    const old = (await readFile(out, 'utf8')).replace(/"model":\{[^}]*\},/, '');
    await writeFile(out, old);
    const refused = await runCli(['embed', cat, other, '--out', out, '--resume', '--model', at('other')]);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('gives others for the same pictures') });
    expect(await readFile(out, 'utf8')).toBe(old);
    expect(await runCli(['embed', cat, other, '--out', out, '--resume'])).toMatchObject({ code: 0 });
    expect(await readRecords(out)).toMatchObject([{ path: cat }, { path: other, model: IDENTITY }]);
  });

  test('beside an array of NumPy, and in the metadata of Parquet', async () => {
    for (const out of [at('v.npy'), at('v.parquet')]) {
      expect(await runCli(['embed', cat, '--out', out, '--no-normalize'])).toMatchObject({ code: 0 });
    }
    const identity = { ...IDENTITY, normalized: false };
    expect(JSON.parse(await readFile(at('v.npy.jsonl'), 'utf8'))).toEqual({ path: cat, model: identity });
    const file = await readFile(at('v.parquet'));
    const { key_value_metadata: pairs } = parquetMetadata(
      file.buffer.slice(file.byteOffset, file.byteOffset + file.length) as ArrayBuffer,
    );
    const said = pairs?.find(({ key }) => key === 'millrace.model')?.value;
    expect(JSON.parse(said ?? '')).toEqual(identity);
    const array = await readFile(at('v.npy'));
    const row = new Float32Array(new Uint8Array(array.subarray(128)).buffer);
    expect(Math.hypot(...row)).toBeGreaterThan(1.1);
  });
});
