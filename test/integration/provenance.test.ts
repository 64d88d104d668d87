import { cp, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parquetMetadata } from 'hyparquet';
import { beforeAll, describe, expect, test } from 'vitest';
import { tempFolder } from '../support/temp-folder.js';
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
const at = tempFolder('provenance ü');

beforeAll(async () => {
  const built = path.join(ROOT, 'models', 'mobilenet-v1-0.25');
  await cp(built, at('same'), { recursive: true });
  await cp(built, at('other'), { recursive: true });
  const file = path.join(at('other'), 'preprocessor_config.json');
  const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify({ ...config, rescale_factor: 0.002 }));
});

describe('millrace embed says of which model its vectors are', { timeout: 60_000 }, () => {
  describe('in lines of JSON', () => {
    const out = () => at('v.jsonl');
    let before = '';
    beforeAll(async () => {
      expect(await runCli(['embed', cat, '--out', out()])).toMatchObject({ code: 0 });
      before = await readFile(out(), 'utf8');
    }, 60_000);

    test('beside every vector', async () => {
      expect(await readRecords(out())).toMatchObject([{ path: cat, model: IDENTITY }]);
    });

    test.each([['--model OTHER'], ['--preprocess exact'], ['--no-normalize']])(
      'and --resume refuses %s, leaving the output as it is',
      async (more) => {
        const args = more.split(' ').map((arg) => (arg === 'OTHER' ? at('other') : arg));
        const ended = await runCli(['embed', cat, other, '--out', out(), '--resume', ...args]);
        expect(ended.stderr).toMatch(/Cannot resume .*: it holds vectors of mobilenet-v1-0\.25 \(/);
        expect(ended.code).toBe(2);
        expect(await readFile(out(), 'utf8')).toBe(before);
      },
    );

    test('also when nothing is left to embed, or errors are to be tried again', async () => {
      const error = '{"path":"gone.jpg","error":{"code":"ERR_IMAGE_NOT_FOUND","message":"no"}}\n';
      await writeFile(at('errors.jsonl'), before + error);
      const args = ['embed', cat, '--out', at('errors.jsonl'), '--resume', '--retry-errors'];
      const idle = await runCli([...args, '--model', at('other')]);
      expect(idle).toMatchObject({ code: 2, stderr: expect.stringContaining('Cannot resume') });
      expect(await readFile(at('errors.jsonl'), 'utf8')).toBe(before + error);
    });

    test('and goes on with the same model under another name', async () => {
      await writeFile(at('same.jsonl'), before);
      const args = ['embed', cat, other, '--out', at('same.jsonl'), '--resume', '--model', at('same')];
      expect(await runCli(args)).toMatchObject({ code: 0 });
      expect(await readRecords(at('same.jsonl'))).toMatchObject([
        { model: IDENTITY },
        { model: { ...IDENTITY, name: 'same' } },
      ]);
    });
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
