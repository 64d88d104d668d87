import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { linux, testNeeding } from '../support/needs.js';
import { countLines, PHOTOS, readRecords, runCli, startCli, until } from './cli-process.js';
import { descendants } from './processes.js';
import { makeSlowPhotos } from './slow-photos.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace faults ü '));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('millrace embed, under way', { timeout: 90_000 }, () => {
  test('gives 100 results for 100 images though a worker is killed in the middle', async () => {
    const photos = await makeSlowPhotos(path.join(folder, 'photos'), 100);
    const out = path.join(folder, 'kill.jsonl');
    const run = startCli(['embed', photos, '--out', out, '--workers', '2']);
    await until('the tenth line', async () => (await countLines(out)) >= 10);
    const [victim, ...others] = await descendants(run.pid);
    expect(others.length).toBeGreaterThanOrEqual(1);
    process.kill(victim as number, 'SIGKILL');
    const ended = await run.ended;
    expect(ended.code).toBe(0);
    const records = await readRecords(out);
    expect(records).toHaveLength(100);
    expect(records.filter((record) => 'error' in record)).toEqual([]);
    expect(new Set(records.map((record) => record.path)).size).toBe(100);
  });

  testNeeding(linux)('says that the disk is full, and ends', async () => {
    const out = path.join(folder, 'full.jsonl');
    await symlink('/dev/full', out);
    const ended = await runCli(['embed', PHOTOS, '--out', out, '--workers', '1']);
    expect(ended.stderr).toContain(`millrace: Cannot write ${out}: ENOSPC`);
    expect(ended.code).toBe(1);
  });

  test('runs twice at once', async () => {
    const args = (out: string): string[] => ['embed', PHOTOS, '--out', path.join(folder, out), '--workers', '1'];
    const both = await Promise.all([runCli(args('one.jsonl')), runCli(args('two.jsonl'))]);
    expect(both.map((ended) => ended.code)).toEqual([0, 0]);
    expect(await readRecords(path.join(folder, 'one.jsonl'))).toEqual(
      await readRecords(path.join(folder, 'two.jsonl')),
    );
  });
});
