/** Pictures that end the process that opens them, and runs that never end. */
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { ImageEmbeddingPoolOptions } from '../../../src/image-embedding/index.js';
import { createSessionPool } from '../pipeline/session-pool.js';

vi.setConfig({ testTimeout: 120_000 });

const CAT = fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url));
const KILLER = 31;
let folder = '';
let files: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace-crashes-'));
  files = Array.from({ length: 60 }, (_, n) => path.join(folder, n === KILLER ? 'killer.jpg' : `${n}.jpg`));
  await Promise.all(files.map((file) => copyFile(CAT, file)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const crashing = (options: ImageEmbeddingPoolOptions, more: Record<string, unknown> = {}) =>
  createSessionPool('../pipeline/crashing-session.mjs', more, options);
const outcomeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'answered',
    (error: { code?: unknown }) => error.code,
  );
const EXPECTED = Array.from({ length: 60 }, (_, n) => (n === KILLER ? 'ERR_WORKER_CRASHED' : 'answered'));

test.for([1, 2, 3])(
  'of 60 pictures one of which kills whoever opens it 59 are embedded, by %i workers',
  async (workers) => {
    await using pool = crashing({ workers });
    const outcomes = await Promise.all(files.map((file) => outcomeOf(pool.embedImage(file, { timeoutMs: 100_000 }))));
    expect(outcomes).toEqual(EXPECTED);
    expect(pool.health()).toMatchObject({ models: { default: { breaker: 'closed' } } });
    expect(pool.stats()).toMatchObject({ succeeded: 59, failed: 1, refused: 0, pending: 0 });
    expect(pool.stats().models.default?.crashes).toBeLessThanOrEqual(3);
  },
);

test('ImageEmbeddingPool.embedImages() answers 59 of 60 pictures one of which kills whoever opens it', async () => {
  await using pool = crashing({ workers: 2 });
  const outcomes = new Map<unknown, unknown>();
  for await (const { input, error } of pool.embedImages(files, { timeoutMs: 100_000 })) {
    outcomes.set(input, error === undefined ? 'answered' : (error as { code?: unknown }).code);
  }
  expect(files.map((file) => outcomes.get(file))).toEqual(EXPECTED);
});

test('ImageEmbeddingPool.batchEmbedImages() answers 59 of 60 pictures one of which kills whoever opens it', async () => {
  await using pool = crashing({ workers: 2 });
  const settled = await pool.batchEmbedImages(files, { settle: true, timeoutMs: 100_000 });
  const outcomes = settled.map(({ error }) => (error === undefined ? 'answered' : (error as { code?: unknown }).code));
  expect(outcomes).toEqual(EXPECTED);
});

test('an inference that never ends blocks a pool of one worker for seconds, in which its health is degraded', async () => {
  const stuckFile = path.join(folder, 'stuck');
  await using pool = crashing({ workers: 1 }, { stuckFile });
  // What runs take is known by then.
  for (const file of files.slice(0, 30)) await pool.embedImage(file.replace('killer', '0'), { timeoutMs: 100_000 });
  expect(pool.health().status).toBe('healthy');
  await writeFile(stuckFile, '');
  const begun = performance.now();
  const stuck = outcomeOf(pool.embedImage(files[0] as string, { timeoutMs: 1_000 }));
  expect(await stuck).toBe('ERR_DEADLINE_EXCEEDED');
  const next = outcomeOf(pool.embedImage(files[1] as string, { timeoutMs: 100_000 }));
  await vi.waitFor(() => expect(pool.health().status).toBe('degraded'), { timeout: 5_000, interval: 20 });
  expect(await next).toBe('answered');
  // Half a minute before; two seconds and two looks, and a start of a worker, on a machine with nothing else to do.
  expect(performance.now() - begun).toBeLessThan(25_000);
  expect(pool.stats().models.default).toMatchObject({ crashes: 1 });
  expect(pool.health()).toMatchObject({ status: 'healthy', models: { default: { breaker: 'closed' } } });
});
