import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EmbedRecord } from '../../src/cli/output/record.js';
import { describeNeeding, linux } from '../support/needs.js';
import { tempFolder } from '../support/temp-folder.js';
import { PHOTOS, readRecords, runCli } from './cli-process.js';

const cat = path.join(PHOTOS, 'cat-1.jpg');
const at = tempFolder('options');
let server: Server;
const vector = (record: EmbedRecord | undefined): Float32Array => (record as { embedding: Float32Array }).embedding;

beforeAll(async () => {
  await copyFile(cat, at('a.jpg'));
  // It takes a request and never answers.
  server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** Embeds into a fresh output; answers how it ended and its records. */
async function embed(...args: string[]) {
  const out = at('v.jsonl');
  await rm(out, { force: true });
  const ended = await runCli(['embed', ...args, '--out', out], { cwd: at() });
  const records = ended.code === 2 ? [] : await readRecords(out);
  return { ...ended, records };
}

describe('millrace embed', { timeout: 60_000 }, () => {
  test.each<[args: string[], code: string, flag: string]>([
    [['a.jpg', '--max-pixels', '1_000'], 'ERR_IMAGE_TOO_LARGE', '--max-pixels'],
    [['a.jpg', '--max-bytes', '1k', '--op', 'base64'], 'ERR_IMAGE_TOO_LARGE', '--max-bytes'],
    [['URL', '--allow-private-urls', '--url-timeout', '0.2'], 'ERR_URL_FETCH', '--url-timeout'],
    [['URL'], 'ERR_URL_FORBIDDEN', '--allow-private-urls'],
  ])('%j: names the option of the limit that has kept a picture out', async (args, code, flag) => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x.jpg`;
    const { records, stderr } = await embed(...args.map((arg) => (arg === 'URL' ? url : arg)));
    expect(records).toMatchObject([{ error: { code, message: expect.stringContaining(flag) } }]);
    expect(stderr).toContain(flag);
  });

  test('takes limits in any form', async () => {
    expect(await embed('a.jpg', '--max-pixels', '150M', '--max-bytes', '200e6')).toMatchObject({ code: 0 });
  });

  test('scales vectors to length 1 unless it is told not to, and prepares pictures as it is told', async () => {
    const [plain, raw, exact] = await Promise.all(
      [[], ['--no-normalize'], ['--preprocess', 'exact', '--concurrency', '1', '--workers', '1']].map(
        async (more, index) => {
          const out = at(`${index}.jsonl`);
          expect(await runCli(['embed', cat, '--out', out, ...more])).toMatchObject({ code: 0 });
          return vector((await readRecords(out))[0]);
        },
      ),
    );
    if (plain === undefined || raw === undefined || exact === undefined) throw new Error('a vector is missing');
    expect(Math.hypot(...plain)).toBeCloseTo(1, 5);
    const length = Math.hypot(...raw);
    expect(length).toBeGreaterThan(1.1);
    for (const [index, value] of raw.entries()) expect(value / length).toBeCloseTo(plain[index] as number, 5);
    expect(exact.reduce((sum, value, index) => sum + value * (plain[index] as number), 0)).toBeGreaterThan(0.99);
  });

  test('says which number formats a model has when it lacks the one that is asked for', async () => {
    const { code, stderr } = await embed('a.jpg', '--dtype', 'q8');
    expect(code).toBe(2);
    expect(stderr).toMatch(/ERR_MODEL_NOT_FOUND: .*must hold a q8 ONNX file .*found onnx\/model\.onnx/);
  });

  test.each<[args: string[], reason: RegExp]>([
    [['--dtype', 'fp8'], /Allowed choices are fp32, fp16, q8/],
    [['--revision', 'main'], /'--revision' needs a model on the hub, received default/],
    [['--preprocess', 'pillow'], /Allowed choices are fast, exact/],
    [['--max-pixels', '0'], /a number from 1 to 268402689, such as 150e6 or 150M/],
    [['--max-pixels', '1G'], /a number from 1 to 268402689/],
    [['--max-bytes', '1.5'], /a number from 1 to 2147483647/],
    [['--url-timeout', '0'], /a number of seconds/],
    [['--url-timeout', '5s'], /a number of seconds/],
    [['--concurrency', '0'], /a number from 1 to 4096/],
    [['--model', ''], /'--model' is an empty string/],
    [['--null'], /'--null' goes with '-'/],
  ])('refuses %j', async (args, reason) => {
    const { code, stderr } = await embed('a.jpg', ...args);
    expect(stderr).toMatch(reason);
    expect(code).toBe(2);
  });

  test('says that a file of base64 is empty, and that a list is in UTF-16', async () => {
    await writeFile(at('empty.b64'), '');
    await writeFile(at('empty.jpg'), '');
    await writeFile(at('blank.b64'), ' \n');
    const { code, records } = await embed('empty.b64', 'empty.jpg', 'blank.b64', '--op', 'base64');
    expect(code).toBe(1);
    for (const record of records) {
      expect(record).toMatchObject({ error: { code: expect.stringMatching(/^ERR_(IMAGE_CORRUPT|BASE64_INVALID)$/) } });
    }
    const stdin = Buffer.from('\uFEFFa.jpg\r\n', 'utf16le');
    const wide = await runCli(['embed', '-', '--out', at('wide.jsonl')], { stdin });
    expect(wide).toMatchObject({ code: 2, stderr: expect.stringContaining('it is in UTF-16') });
  });

  describeNeeding(linux)('with names of any kind', () => {
    const odd = [
      'line\nbreak.jpg',
      '😀.jpg',
      '-rf.jpg',
      'file:x.jpg',
      'a\rb.jpg',
      'x\u2028.jpg',
      ' a .jpg',
      '--out.jpg',
      '!x.jpg',
    ];
    let bytes: Buffer;
    let url = '';
    beforeAll(async () => {
      await mkdir(at('odd'));
      for (const name of odd) await copyFile(cat, path.join(at('odd'), name));
      bytes = Buffer.concat([Buffer.from(`${at('odd')}/`), Buffer.from('caf\xe9.jpg', 'latin1')]);
      await copyFile(cat, bytes as unknown as string);
      url = `file://${encodeURI(at('odd'))}/caf%E9.jpg`;
    });

    test.each([[['odd']], [['odd/*']], [['-', '-0']], [['-']]])('%j: embeds each once', async (args) => {
      const list = Buffer.concat([
        Buffer.from(odd.map((name) => `odd/${name}\0`).join('')),
        bytes,
        Buffer.from(`\0odd/😀.jpg\0${url}\0`),
      ]);
      const out = at('odd.jsonl');
      await rm(out, { force: true });
      expect(await runCli(['embed', ...args, '--out', out], { cwd: at(), stdin: list })).toMatchObject({ code: 0 });
      const wanted = [...odd.map((name) => path.join('odd', name)), url].sort();
      expect((await readRecords(out)).map((record) => record.path).sort()).toEqual(wanted);
      expect((await readFile(out, 'utf8')).split(/[\n\u2028\u2029\u0085]/)).toHaveLength(wanted.length + 1);
    });

    test('knows a file again by the name that it has in an output', async () => {
      const again = await runCli(['embed', url, '--out', at('odd.jsonl'), '--resume'], { cwd: at() });
      expect(again.stderr).toContain('nothing to do');
    });
  });
});
