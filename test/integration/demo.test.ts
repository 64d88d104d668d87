import { copyFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { tempFolder } from '../support/temp-folder.js';
import { until } from '../support/until.js';
import { type Ended, PHOTOS, readRecords, startCli } from './cli-process.js';
import { startIdleLoop } from './idle-loop.js';
import { descendants } from './processes.js';

const at = tempFolder('demo ü');
let ended: Ended;
let idleDelayMs = 0;
let workers: number[] = [];
beforeAll(async () => {
  const idle = startIdleLoop();
  const run = startCli(['demo', PHOTOS], { cwd: at() });
  workers = await until('two workers', async () => {
    const found = await descendants(run.pid);
    return found.length >= 2 ? found : undefined;
  });
  ended = await run.ended;
  idleDelayMs = await idle.stop();
}, 90_000);

test('millrace demo: two workers are two processes', () => {
  expect(new Set(workers).size).toBeGreaterThanOrEqual(2);
  expect(ended.stdout).toContain('2 worker processes');
});

test('millrace demo: every photograph of a pair has the other as its nearest', () => {
  expect(ended.code).toBe(0);
  const rows = ended.stdout.split('\n').map((line) => line.trim().split(/\s+/));
  const pairs = rows.filter(([photo]) => /^[a-z]+-[12]\.jpg$/.test(photo ?? ''));
  expect(pairs.length).toBeGreaterThanOrEqual(12);
  for (const [photo = '', nearest = ''] of pairs) {
    expect(`${photo} → ${nearest}`).toBe(
      `${photo} → ${photo.replace(/[12]\.jpg$/, (end) => (end === '1.jpg' ? '2.jpg' : '1.jpg'))}`,
    );
  }
});

test("millrace demo: the parent's event loop stays free", () => {
  const [, delay] = /event-loop delay of this process: p99 ([\d.]+) ms/.exec(ended.stdout) ?? [];
  expect(Number(delay)).toBeGreaterThan(0);
  // On a machine that is busy with other things even a loop that does nothing is kept waiting: that much is not the demo's doing.
  expect(Number(delay)).toBeLessThan(10 + 2 * idleDelayMs);
});

test('millrace demo: writes the vectors and a page that needs nothing else', async () => {
  const records = await readRecords(at('demo-out', 'embeddings.jsonl'));
  expect(records.length).toBeGreaterThanOrEqual(12);
  for (const record of records) {
    if (!('embedding' in record)) throw new Error(record.error.message);
    const length = Math.hypot(...record.embedding);
    expect(length).toBeCloseTo(1, 5);
  }
  const page = await readFile(at('demo-out', 'index.html'), 'utf8');
  expect(page.match(/<article /g)).toHaveLength(records.length);
  expect(page.match(/<img src="data:image\/jpeg;base64,/g)).toHaveLength(records.length * 4);
  expect(page).not.toMatch(/(?:src|href)="(?!data:|#)/);
});

test('millrace demo: shows its progress, line by line where there is no terminal', () => {
  expect(ended.stderr).not.toContain('\u001b[');
});

test('millrace demo: refuses what is no folder, before anything is started', async () => {
  const run = await startCli(['demo', 'nowhere'], { cwd: at() }).ended;
  expect(run).toMatchObject({ code: 2, stderr: 'millrace: Cannot show nowhere: it is not a folder\n' });
});

test('millrace demo: says how to search what it has embedded, and the search finds it', async () => {
  expect(ended.stdout).toMatch(/\ntry: npx millrace search cat\n/);
  const search = await startCli(['search', 'cat', '--paths', '--limit', '2'], { cwd: at() }).ended;
  expect(search.stdout.match(/cat-[12]\.jpg\n/g)).toHaveLength(2);
});

test('millrace demo: leaves an index of other pictures alone, and says where its own vectors are', async () => {
  const folder = at('elsewhere');
  await mkdir(folder);
  const index = ['index', `${PHOTOS}/clock.jpg`, `${PHOTOS}/cat-1.jpg`];
  expect((await startCli(index, { cwd: folder }).ended).code).toBe(0);
  const photos = path.join(folder, 'photos');
  await mkdir(photos);
  await copyFile(`${PHOTOS}/cat-2.jpg`, path.join(photos, 'cat-2.jpg'));
  const { code, stdout } = await startCli(['demo', photos, '--out-dir', 'out of here'], { cwd: folder }).ended;
  expect(code).toBe(0);
  expect(stdout).toContain("\ntry: npx millrace search cat --index 'out of here/embeddings.jsonl'\n");
  const found = await startCli(['search', 'cat', '--paths'], { cwd: folder }).ended;
  expect(found.stdout.split('\n').slice(0, -1)).toHaveLength(2);
});
