/** What is left of an index when the command that makes it is interrupted: shared by the gate and the long form. */
import { spawn } from 'node:child_process';
import { copyFile, link, mkdir, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { openIndex } from '../../src/search/index.js';
import { type Ended, MAIN, PHOTOS, startCli } from '../integration/cli-process.js';
import { mountNamespaces, testNeeding } from '../support/needs.js';
import { until } from '../support/until.js';

async function inFolder(run: (root: string) => Promise<void>): Promise<void> {
  const root = await realpath(await mkdtemp(path.join(tmpdir(), 'millrace-interrupted-')));
  try {
    await run(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function photographs(): Promise<string[]> {
  return (await readdir(PHOTOS)).filter((name) => name.endsWith('.jpg')).sort();
}

/** Numbers from 0 to 1, the same for a seed. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Kills `millrace index` at random moments while pictures come and go, and looks at what each death left.
 *
 * @param times How often.
 */
export function testKilledCommand(times: number): void {
  it(`millrace index, killed at ${times} random moments, leaves an index that opens and goes on`, async () => {
    await inFolder(async (root) => {
      const next = random(times);
      const photos = path.join(root, 'photos');
      await mkdir(photos);
      const all = await photographs();
      const args = ['index', 'photos'];
      await copyFile(path.join(PHOTOS, 'clock.jpg'), path.join(photos, 'clock.jpg'));
      const began = performance.now();
      expect((await startCli(args, { cwd: root }).ended).code).toBe(0);
      const runMs = performance.now() - began;
      let killed = 0;
      while (killed < times) {
        for (const name of all) {
          const isThere = (await readdir(photos)).includes(name);
          if (isThere && next() < 0.3 && name !== 'clock.jpg') await rm(path.join(photos, name));
          else if (!isThere && next() < 0.5) await copyFile(path.join(PHOTOS, name), path.join(photos, name));
        }
        const running = startCli(args, { cwd: root });
        const timer = setTimeout(() => process.kill(running.pid, 'SIGKILL'), next() * 1.2 * runMs);
        const { signal } = await running.ended;
        clearTimeout(timer);
        if (signal === 'SIGKILL') killed++;
        const index = await openIndex(path.join(root, 'millrace.idx'));
        for (const { path: file } of index.items()) {
          const vector = await index.vector(file);
          const [hit] = await index.search(vector as Float32Array, { limit: 1, where: (item) => item.path === file });
          expect(hit?.score).toBeCloseTo(1, 5);
        }
        await index.close();
      }
      expect((await startCli(args, { cwd: root }).ended).code).toBe(0);
      const index = await openIndex(path.join(root, 'millrace.idx'));
      const held = [...index.items()].map((item) => path.basename(item.path)).sort();
      expect(held).toEqual((await readdir(photos)).sort());
      await index.close();
    });
  });
}

/**
 * Copies many pictures into a watched folder at once.
 *
 * @param count How many.
 */
export function testBurst(count: number): void {
  it(`millrace index --watch embeds a burst of ${count} files in one run`, async () => {
    await inFolder(async (root) => {
      const [outside, watched] = ['outside', 'watched'].map((name) => path.join(root, name)) as [string, string];
      await mkdir(outside);
      await mkdir(watched);
      await copyFile(path.join(PHOTOS, 'clock.jpg'), path.join(watched, 'clock.jpg'));
      for (let at = 0; at < count; at++) {
        const background = { r: at % 256, g: Math.floor(at / 256) * 16, b: 128 };
        await sharp({ create: { width: 24, height: 24, channels: 3, background } })
          .png()
          .toFile(path.join(outside, `${at}.png`));
      }
      const running = startCli(['index', 'watched', '--watch'], { cwd: root });
      try {
        await until('it watches', () => running.said().includes('watching'));
        await Promise.all(
          (await readdir(outside)).map((name) => link(path.join(outside, name), path.join(watched, name))),
        );
        const reader = await openIndex(path.join(root, 'millrace.idx'));
        await until(
          'all are found',
          async () => {
            await reader.refresh();
            return reader.size === count + 1;
          },
          120_000,
        );
        await reader.close();
        await until('it says so', () => running.said().includes(`${count} embedded, 1 unchanged`));
      } finally {
        process.kill(running.pid, 'SIGINT');
        await running.ended;
      }
      const runs = [...(await running.ended).stderr.matchAll(/(\d+) embedded/g)].map(([, number]) => Number(number));
      expect(runs.filter((number) => number > 0)).toEqual([1, count]);
    });
  });
}

/** Fills a small file system. */
export function testFullDisk(): void {
  testNeeding(mountNamespaces)(
    'millrace index leaves an index that opens when the disk is full, and goes on once there is room',
    async () => {
      await inFolder(async (root) => {
        const script = `
        set -e
        mkdir disk && mount -t tmpfs -o size=24k none disk
        node="$1"; main="$2"; photos="$3"
        "$node" "$main" index "$photos/cat-1.jpg" --index disk/photos.idx
        "$node" "$main" index "$photos" --index disk/photos.idx || test $? = 1
        "$node" "$main" search "$photos/cat-1.jpg" --index disk/photos.idx --paths --limit 1
        mount -o remount,size=4m disk
        "$node" "$main" index "$photos" --index disk/photos.idx
        "$node" "$main" search "$photos/clock.jpg" --index disk/photos.idx --paths --limit 1
      `;
        const args = ['--mount', 'bash', '-c', script, 'bash', process.execPath, MAIN, PHOTOS];
        const child = spawn('unshare', args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
        let [stdout, stderr] = ['', ''];
        child.stdout.on('data', (chunk) => {
          stdout += String(chunk);
        });
        child.stderr.on('data', (chunk) => {
          stderr += String(chunk);
        });
        const code = await new Promise((resolve) => child.once('close', resolve));
        expect([code, stderr]).toEqual([0, expect.stringMatching(/the disk is full \(ENOSPC\).*holds 22 pictures/s)]);
        expect(stdout.split('\n').map((file) => path.basename(file))).toEqual(['cat-1.jpg', 'clock.jpg', '']);
      });
    },
    120_000,
  );
}

/** Ends `--reindex` half-way. */
export function testInterruptedReindex(): void {
  it('millrace index --reindex, killed or interrupted, leaves the old index in place', async () => {
    await inFolder(async (root) => {
      const photos = path.join(root, 'photos');
      await mkdir(photos);
      for (const name of await photographs()) await copyFile(path.join(PHOTOS, name), path.join(photos, name));
      const run = (...args: string[]): Promise<Ended> => startCli(args, { cwd: root }).ended;
      expect((await run('index', 'photos', '--preprocess', 'exact')).code).toBe(0);
      const again = ['index', 'photos', '--preprocess', 'fast', '--reindex'];
      for (const signal of ['SIGKILL', 'SIGINT'] as const) {
        const running = startCli(again, { cwd: root });
        await until('the new index is begun', async () => {
          const lock = path.join(root, 'millrace.idx.new', 'write.lock');
          return (await readFile(lock, 'utf8').catch(() => '')).includes(`"pid":${running.pid},`);
        });
        process.kill(running.pid, signal);
        expect((await running.ended)[signal === 'SIGKILL' ? 'signal' : 'code']).toBe(
          signal === 'SIGKILL' ? signal : 130,
        );
        const index = await openIndex(path.join(root, 'millrace.idx'));
        expect([index.size, index.model?.preprocess]).toEqual([22, 'exact']);
        await index.close();
        expect((await run('search', 'cat', '--limit', '1', '--paths')).stdout).toMatch(/cat-\d\.jpg\n$/);
      }
      // What was begun is of no use for another model, and goes.
      const { code } = await run('index', 'photos', '--preprocess', 'exact', '--reindex');
      expect(code).toBe(0);
      expect((await readdir(root)).sort()).toEqual(['millrace.idx', 'photos']);
      expect((await run(...again)).stderr).toContain('22 embedded');
      const index = await openIndex(path.join(root, 'millrace.idx'));
      expect([index.size, index.model?.preprocess]).toEqual([22, 'fast']);
      await index.close();
    });
  }, 60_000);
}
