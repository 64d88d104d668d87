import { access, appendFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { tempFolder } from '../support/temp-folder.js';
import { until } from '../support/until.js';
import { countLines, readRecords, runCli, startCli } from './cli-process.js';
import { descendants, isAlive } from './processes.js';
import { makeSlowPhotos } from './slow-photos.js';

const COUNT = 120;
const at = tempFolder('stop ü');
let photos = '';
let expected: string[] = [];

beforeAll(async () => {
  photos = await makeSlowPhotos(at('photos of 猫'), COUNT);
  expected = Array.from({ length: COUNT }, (_, index) =>
    path.join(photos, `photo-${String(index).padStart(3, '0')}.jpg`),
  );
});

const embed = (out: string, ...more: string[]): string[] => ['embed', photos, '--out', out, '--workers', '2', ...more];

async function expectWhole(out: string): Promise<void> {
  const records = await readRecords(out);
  expect(records.map((record) => record.path)).toEqual(expected);
  expect(records.filter((record) => 'error' in record)).toEqual([]);
}

// Real processes on a machine that may be busy.
describe('millrace embed, stopped', { timeout: 90_000 }, () => {
  test('drains when SIGINT comes to its process group, says how to continue, and continues', async () => {
    const out = at('sigint.jsonl');
    const run = startCli(embed(out), { cwd: at(), ownGroup: true });
    await until('the third line', async () => (await countLines(out)) >= 3);
    const children = await descendants(run.pid);
    process.kill(-run.pid, 'SIGINT');
    const ended = await run.ended;
    expect(ended).toMatchObject({ code: 130, signal: null });
    expect(ended.stderr).toContain('run the same command with --resume to continue');
    const records = await readRecords(out);
    expect(records.length).toBeLessThan(COUNT);
    expect(records.map((record) => record.path)).toEqual(expected.slice(0, records.length));
    expect(records.filter((record) => 'error' in record)).toEqual([]);
    expect(children.length).toBeGreaterThanOrEqual(2);
    await until('the end of the workers', () => !children.some(isAlive) || undefined);

    const resumed = await runCli(embed(out, '--resume'), { cwd: at() });
    expect(resumed.stderr).toContain(`resuming: ${out} holds ${records.length}`);
    expect(resumed.code).toBe(0);
    await expectWhole(out);
    const idle = await runCli(embed(out, '--resume'), { cwd: at() });
    expect(idle).toMatchObject({ code: 0 });
    expect(idle.stderr).toContain('nothing to do');
    await expectWhole(out);
  });

  test('quits at once when SIGINT comes again', async () => {
    const out = at('twice.jsonl');
    const run = startCli(embed(out), { cwd: at(), ownGroup: true });
    await until('the first line', async () => (await countLines(out)) >= 1);
    const children = await descendants(run.pid);
    process.kill(-run.pid, 'SIGINT');
    await until('the notice', () => run.said().includes('once more to quit at once'));
    // Within 300 ms a second signal counts as the same press.
    await new Promise((resolve) => setTimeout(resolve, 320));
    if (run.child.exitCode === null) process.kill(-run.pid, 'SIGINT');
    expect(await run.ended).toMatchObject({ code: 130 });
    await until('the end of the workers', () => !children.some(isAlive) || undefined);
    expect((await readRecords(out)).length).toBeLessThan(COUNT);
    await expect(access(`${out}.lock`)).rejects.toThrow('ENOENT');
  });

  test('leaves no child behind when it is killed, and continues behind a torn line', async () => {
    const out = at('sigkill.jsonl');
    const run = startCli(embed(out), { cwd: at() });
    await until('the third line', async () => (await countLines(out)) >= 3);
    const children = await descendants(run.pid);
    expect(children.length).toBeGreaterThanOrEqual(2);
    run.child.kill('SIGKILL');
    expect(await run.ended).toMatchObject({ signal: 'SIGKILL' });
    await until('the end of the workers', () => !children.some(isAlive) || undefined);

    await appendFile(out, '{"path":"torn","dim":256,"embedding":[0.1');
    const resumed = await runCli(embed(out, '--resume'), { cwd: at() });
    expect(resumed.stderr).toContain('the last line was torn');
    expect(resumed.code).toBe(0);
    await expectWhole(out);

    await appendFile(out, '{"path":"torn again');
    expect((await runCli(embed(out, '--resume'), { cwd: at() })).stderr).toContain('nothing to do');
    await expectWhole(out);
  });

  test('ends quietly when the reader of its output goes', async () => {
    const run = startCli(['embed', photos, '--out', '-', '--workers', '1'], { cwd: at() });
    await until('the first line', () => run.said().includes('"embedding"'));
    run.child.stdout?.destroy();
    const ended = await run.ended;
    expect(ended.code).toBe(141);
    expect(ended.stderr).not.toMatch(/EPIPE|Error/);
  });
});
