import { copyFile, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { tempFolder } from '../support/temp-folder.js';
import { until } from '../support/until.js';
import { countLines, PHOTOS, readRecords, runCli, startCli } from './cli-process.js';
import { descendants, listProcesses } from './processes.js';
import { makeSlowPhotos } from './slow-photos.js';

const at = tempFolder('faults ü');

describe('millrace embed, under way', { timeout: 90_000 }, () => {
  test('gives 100 results for 100 images though a worker is killed in the middle', async () => {
    const photos = await makeSlowPhotos(at('photos'), 100);
    const out = at('kill.jsonl');
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

  test.for([1, 2])('embeds all pictures but the one that kills its worker, with %i workers', async (workers) => {
    const photos = at(`killer photos ${workers}`);
    await mkdir(photos);
    const [photo] = (await readdir(PHOTOS)).filter((name) => name.endsWith('.jpg')) as [string];
    const names = Array.from({ length: 60 }, (_, n) => (n === 31 ? 'killing.jpg' : `${n}.jpg`));
    for (const name of names) await copyFile(path.join(PHOTOS, photo), path.join(photos, name));
    const out = at(`killer ${workers}.jsonl`);
    const preload = new URL('./fixtures/killing-preload.mjs', import.meta.url).href;
    const env = { NODE_OPTIONS: `--import=${preload}` };
    const ended = await runCli(['embed', photos, '--out', out, '--workers', String(workers)], { env });
    const records = await readRecords(out);
    const failed = records.filter((record) => 'error' in record);
    expect(failed.map((record) => [path.basename(record.path), 'error' in record && record.error.code])).toEqual([
      ['killing.jpg', 'ERR_WORKER_CRASHED'],
    ]);
    expect(records).toHaveLength(60);
    expect(ended.stderr).toContain('1 failed');
  });

  test('goes on though the first workers are killed as it starts', async () => {
    const out = at('early.jsonl');
    const run = startCli(['embed', PHOTOS, '--out', out, '--workers', '1']);
    const killed = new Set<number>();
    let isOver = false;
    void run.ended.then(() => {
      isOver = true;
    });
    // Each as soon as it is there: none of them can be ready.
    while (killed.size < 3 && !isOver) {
      const [worker] = (await descendants(run.pid)).filter((pid) => !killed.has(pid));
      if (worker === undefined || !(await isWorker(worker))) continue;
      killed.add(worker);
      process.kill(worker, 'SIGKILL');
    }
    const ended = await run.ended;
    expect(killed.size).toBe(3);
    expect([ended.code, ended.stderr]).toEqual([0, expect.not.stringContaining('ERR_')]);
    const records = await readRecords(out);
    expect(records.length).toBeGreaterThan(20);
    expect(records.filter((record) => 'error' in record)).toEqual([]);
  });

  test('runs twice at once', async () => {
    const args = (out: string): string[] => ['embed', PHOTOS, '--out', at(out), '--workers', '1'];
    const both = await Promise.all([runCli(args('one.jsonl')), runCli(args('two.jsonl'))]);
    expect(both.map((ended) => ended.code)).toEqual([0, 0]);
    expect(await readRecords(at('one.jsonl'))).toEqual(await readRecords(at('two.jsonl')));
  });
});

/** Whether a process runs a worker, and not what its parent started otherwise. */
async function isWorker(pid: number): Promise<boolean> {
  const row = (await listProcesses()).find((each) => each.pid === pid);
  return row?.command.includes('process-child') ?? false;
}
