import { copyFile, cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { tempFolder } from '../support/temp-folder.js';
import { until } from '../support/until.js';
import { PHOTOS, ROOT, readRecords, runCli, startCli } from './cli-process.js';

const at = tempFolder('bad ü');

beforeAll(async () => {
  await copyFile(path.join(PHOTOS, 'cat-1.jpg'), at('good.jpg'));
  await mkdir(at('folder.jpg'));
  await mkdir(at('folder.jsonl'));
  await writeFile(at('held.jsonl'), 'not a record\n');
  await writeFile(at('empty.jpg'), '');
  await writeFile(at('text.jpg'), 'this is not an image\n');
  const jpeg = await readFile(at('good.jpg'));
  await writeFile(at('cut.jpg'), jpeg.subarray(0, jpeg.length / 2));
  await writeFile(at('broken.b64'), 'data:image/jpeg;base64,####');
  await writeFile(at('good.b64'), jpeg.toString('base64'));
});

/** What became of each input, by the name of its file. */
async function outcomes(file: string): Promise<Record<string, string>> {
  const records = await readRecords(file);
  return Object.fromEntries(
    records.map((record) => [path.basename(record.path), 'error' in record ? record.error.code : 'embedded']),
  );
}

describe('millrace embed, bad input', { timeout: 60_000 }, () => {
  test('gives every bad image its coded line, in order, and goes on', async () => {
    const names = ['missing.jpg', 'folder.jpg', 'empty.jpg', 'text.jpg', 'cut.jpg', 'good.jpg'];
    const ended = await runCli(['embed', '-', '--out', at('bad.jsonl')], { cwd: at(), stdin: names.join('\n') });
    expect(await outcomes(at('bad.jsonl'))).toEqual({
      'missing.jpg': 'ERR_IMAGE_NOT_FOUND',
      'folder.jpg': 'ERR_IMAGE_UNSUPPORTED',
      'empty.jpg': 'ERR_IMAGE_CORRUPT',
      'text.jpg': 'ERR_IMAGE_UNSUPPORTED',
      'cut.jpg': 'ERR_IMAGE_CORRUPT',
      'good.jpg': 'embedded',
    });
    expect((await readRecords(at('bad.jsonl'))).map((record) => record.path)).toEqual(names);
    expect(ended.stderr).toContain('missing.jpg: ERR_IMAGE_NOT_FOUND');
    expect(ended.code).toBe(1);
  });

  test('tells broken base64 from good, and the good gives what the path gives', async () => {
    const args = ['embed', 'broken.b64', 'good.b64', 'good.jpg', '--op', 'base64', '--out', 'b64.jsonl'];
    const ended = await runCli(args, { cwd: at() });
    expect(ended.code).toBe(1);
    const [broken, encoded, read] = await readRecords(at('b64.jsonl'));
    expect(broken).toMatchObject({ path: 'broken.b64', error: { code: 'ERR_BASE64_INVALID' } });
    expect(encoded).toMatchObject({ embedding: (read as { embedding: Float32Array }).embedding });
  });

  test('tells a URL that is not allowed from one that does not answer', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    const url = `http://127.0.0.1:${port}/a.jpg`;
    const refused = await runCli(['embed', url, '--out', at('url.jsonl')]);
    expect(refused.code).toBe(1);
    expect(await readRecords(at('url.jsonl'))).toMatchObject([{ path: url, error: { code: 'ERR_URL_FORBIDDEN' } }]);
    const unreachable = await runCli(['embed', url, '--allow-private-urls', '--out', at('url.jsonl')]);
    expect(unreachable.code).toBe(1);
    expect(await readRecords(at('url.jsonl'))).toMatchObject([{ path: url, error: { code: 'ERR_URL_FETCH' } }]);
  });

  test('ends at once, with a code and without an output, when the folder holds no model', async () => {
    const ended = await runCli(['embed', at('good.jpg'), '--model', at('folder.jpg'), '--out', at('model.jsonl')]);
    expect(ended.stderr).toMatch(/millrace: ERR_MODEL_\w+: /);
    expect(ended.code).toBe(2);
    await expect(readFile(at('model.jsonl'), 'utf8')).rejects.toThrow('ENOENT');
  });

  test('says that a list on standard input is empty, and writes nothing', async () => {
    const ended = await runCli(['embed', '-', '--out', at('empty.jsonl')], { stdin: '\n' });
    expect(ended.stderr).toContain(
      'nothing to do: the list on standard input names nothing, and nothing was written\n',
    );
    expect(ended.code).toBe(0);
    await expect(readFile(at('empty.jsonl'), 'utf8')).rejects.toThrow('ENOENT');
  });

  test('keeps errors when it resumes, and tries them again when it is told to', async () => {
    const out = at('again.jsonl');
    const args = ['embed', at('good.jpg'), at('late.jpg'), '--out', out];
    expect((await runCli(args)).code).toBe(1);
    await cp(at('good.jpg'), at('late.jpg'));
    const kept = await runCli([...args, '--resume']);
    expect(kept.stderr).toContain('holds 2, 1 of them failed and stay as they are: --retry-errors tries them again');
    expect(kept.code).toBe(1);
    const again = await runCli([...args, '--resume', '--retry-errors']);
    expect(again.code).toBe(0);
    const records = await readRecords(out);
    expect(records).toMatchObject([{ path: at('good.jpg') }, { path: at('late.jpg') }]);
    expect(records.every((each) => 'embedding' in each)).toBe(true);
  });

  test.each(['two.npy', 'two.parquet', 'two.jsonl'])(
    'refuses a second run into %s while one writes it',
    async (name) => {
      // The first waits for its list, which never ends.
      const first = startCli(['embed', '-', '--out', at(name)], { isStdinOpen: true });
      await until('the lock', () => readFile(at(`${name}.lock`), 'utf8').catch(() => undefined));
      const second = await runCli(['embed', at('good.jpg'), '--out', at(name)]);
      expect(second.stderr).toMatch(/Cannot write .*: another run \(process \d+ on .*\) is writing it/);
      expect(second.code).toBe(2);
      first.child.stdin?.end(`${at('good.jpg')}\n`);
      expect((await first.ended).code).toBe(0);
      expect(
        (await readdir(path.dirname(at(name)))).filter((each) => each.startsWith(name) && /lock|partial/.test(each)),
      ).toEqual([]);
    },
  );

  test('--resume refuses what cannot be continued', async () => {
    for (const name of ['r.npy', 'r.parquet']) {
      const ended = await runCli(['embed', at('good.jpg'), '--out', at(name), '--resume']);
      expect(ended.stderr).toContain("Cannot resume: '--resume' needs a .jsonl output");
      expect(ended.code).toBe(2);
    }
  });
});

test('millrace embed refuses a model whose input is not what its folder says', async () => {
  const model = at('mismatch');
  await cp(path.join(ROOT, 'models', 'mobilenet-v1-0.25'), model, { recursive: true });
  const file = path.join(model, 'preprocessor_config.json');
  const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  const size = { height: 96, width: 96 };
  await writeFile(file, JSON.stringify({ ...config, size, crop_size: size }));
  const ended = await runCli(['embed', at('good.jpg'), '--model', model, '--out', at('mismatch.jsonl')]);
  expect(ended.stderr).toMatch(/millrace: ERR_MODEL_MISMATCH: .*\[batch, 3, 96, 96\].*, found .*224/);
  expect(ended.code).toBe(2);
});

describe('millrace embed, bad usage', () => {
  const cases: [name: string, args: string[], reason: RegExp][] = [
    ['no inputs', ['embed', '--out', 'x.jsonl'], /missing required argument 'inputs'/],
    ['no output', ['embed', 'good.jpg'], /required option '-o, --out <file>' not specified/],
    ['an unknown option', ['embed', 'good.jpg', '--out', 'x.jsonl', '--fast'], /unknown option '--fast'/],
    ['an unknown command', ['embde'], /unknown command 'embde'/],
    ['no command', [], /Usage: millrace/],
    ['workers that are no number', ['embed', 'good.jpg', '--out', 'x', '--workers', 'two'], /a number from 1 to 256/],
    ['no workers', ['embed', 'good.jpg', '--out', 'x.jsonl', '--workers', '0'], /a number from 1 to 256/],
    [
      'an unknown operation',
      ['embed', 'good.jpg', '--out', 'x.jsonl', '--op', 'ftp'],
      /Allowed choices are path, base64/,
    ],
    [
      'a glob that matches nothing',
      ['embed', '*.tiff', '--out', 'x.jsonl'],
      /no images found \(nothing matches \*\.tiff\)/,
    ],
    ['a folder without images', ['embed', 'folder.jpg', '--out', 'x.jsonl'], /no images in folder/],
    ['an output folder that is missing', ['embed', 'good.jpg', '--out', 'no/x.jsonl'], /its folder does not exist: no/],
    ['an output that is a folder', ['embed', 'good.jpg', '--out', 'folder.jsonl'], /it is a folder/],
    ['an output that is an input', ['embed', 'held.jsonl', '--out', 'held.jsonl'], /both an input and the output/],
    [
      'an output that is another file',
      ['embed', 'good.jpg', '--out', 'held.jsonl', '--resume'],
      /line 1 is not a record/,
    ],
  ];
  test.each(cases)('%s', async (_name, args, reason) => {
    const before = await readFile(at('good.jpg'));
    const ended = await runCli(args, { cwd: at() });
    expect(ended.stderr).toMatch(reason);
    expect(ended.code).toBe(2);
    expect(ended.stdout).toBe('');
    expect(await readFile(at('good.jpg'))).toEqual(before);
  });

  test.each([[['--help']], [['embed', '--help']], [['demo', '--help']], [['help', 'embed']]])('%j', async (args) => {
    const ended = await runCli(args);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/^Usage: millrace/);
    if (args.some((arg) => arg !== '--help')) expect(ended.stdout).toMatch(/Exit codes:\n {2}0 .*\n {2}1 .*\n {2}2 /);
    // Commander wraps to the width of the terminal; what is added to it must fit by itself.
    for (const line of ended.stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
    expect(ended.stderr).toBe('');
  });

  test.each([[['--version']], [['embed', '--version']], [['demo', '-V']]])('%j', async (args) => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await runCli(args)).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});
