import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTestModel } from '../../scripts/make-test-models.js';
import { createIndex, openIndex } from '../../src/search/index.js';
import { type Ended, MAIN, PHOTOS, startCli } from './cli-process.js';

let root: string;

const run = (args: readonly string[], cwd: string = root): Promise<Ended> => startCli(args, { cwd }).ended;

beforeAll(async () => {
  root = await realpath(await mkdtemp(path.join(tmpdir(), 'millrace-commands-')));
  await mkdir(path.join(root, 'photos'));
  for (const name of await readdir(PHOTOS)) {
    if (name.endsWith('.jpg')) await copyFile(path.join(PHOTOS, name), path.join(root, 'photos', name));
  }
  const { code, stderr } = await run(['index', 'photos']);
  expect([code, stderr]).toEqual([0, expect.stringContaining('22 embedded')]);
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

const found = async (...args: string[]): Promise<string[]> => {
  const { stdout, stderr, code } = await run(['search', '--paths', ...args]);
  expect([code, stderr]).toEqual([0, '']);
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((file) => path.relative(path.join(root, 'photos'), file));
};

describe('millrace search', () => {
  it('puts the cats first, for a word in any form', async () => {
    for (const word of ['cat', 'a cat', 'Cats']) {
      expect((await found(word, '--limit', '2')).sort()).toEqual(['cat-1.jpg', 'cat-2.jpg']);
    }
  });

  it('finds a picture by a picture, and by pictures and words together', async () => {
    expect((await found('photos/rocket-1.jpg', '--limit', '2')).sort()).toEqual(['rocket-1.jpg', 'rocket-2.jpg']);
    expect((await found('photos/rocket-1.jpg', '+', '3:cat', '--limit', '4')).slice(0, 2)).toContain('cat-1.jpg');
    const without = await found('photos/coffee-1.jpg', '-', 'photos/coffee-2.jpg', '--limit', '22');
    expect(without.at(-1)).not.toBe('coffee-1.jpg');
    expect(without.indexOf('coffee-2.jpg')).toBeGreaterThan(5);
  });

  it('keeps to a least score, a folder and dates', async () => {
    expect(await found('cat', '--min-score', '0.25')).toEqual(['cat-1.jpg', 'cat-2.jpg']);
    expect(await found('cat', '--min-score', '0.25', '--before', '1990')).toEqual([]);
    expect(await found('cat', '--min-score', '0.25', '--after', '2020')).toHaveLength(2);
    expect(await found('cat', '--folder', 'photos', '--limit', '1')).toEqual(['cat-1.jpg']);
    expect(await found('cat', '--folder', 'elsewhere')).toEqual([]);
    expect(await found('cat', '--near', '48.86,2.35')).toEqual([]);
  });

  it('prints paths ended by NUL, JSON with scores, and a table', async () => {
    const { stdout: nul } = await run(['search', 'cat', '-0', '--limit', '2']);
    expect(nul.split('\0')).toHaveLength(3);
    const { stdout: json } = await run(['search', 'cat', '--json', '--limit', '1']);
    expect(JSON.parse(json)).toMatchObject([{ score: expect.any(Number), path: path.join(root, 'photos/cat-1.jpg') }]);
    const { stdout: table } = await run(['search', 'cat', '--limit', '1']);
    expect(table).toMatch(/score {2}picture\n─+ {2}─+\n0\.3\d\d {2}photos\/cat-1\.jpg\n$/);
  });

  it('writes a page that links the originals', async () => {
    const { stdout, code } = await run(['search', 'cat', '--html', 'found.html', '--limit', '3']);
    expect([code, stdout]).toEqual([0, expect.stringContaining('found.html')]);
    const page = await readFile(path.join(root, 'found.html'), 'utf8');
    expect(page.match(/<article>/g)).toHaveLength(3);
    expect(page).toContain(`href="file://${root}/photos/cat-1.jpg"`);
    expect(page).not.toContain('<script');
  });

  it('copies what it found, and overwrites nothing', async () => {
    const args = ['search', 'cat', '--limit', '2', '--copy-to', 'found'];
    for (let turn = 0; turn < 2; turn++) {
      const { code, stderr, stdout } = await run(args);
      expect([code, stderr]).toEqual([0, '2 pictures copied to found\n']);
      expect(stdout).toContain('photos/cat-1.jpg');
    }
    const names = await readdir(path.join(root, 'found'));
    expect(names.sort()).toEqual(['cat-1-2.jpg', 'cat-1.jpg', 'cat-2-2.jpg', 'cat-2.jpg']);
    const [copy, original] = await Promise.all(
      ['found', 'photos'].map((name) => readFile(path.join(root, name, 'cat-1.jpg'))),
    );
    expect(copy).toEqual(original);
  });

  it('searches what embed wrote', async () => {
    for (const name of ['vectors.npy', 'vectors.parquet']) {
      expect((await run(['embed', 'photos', '--out', name])).code).toBe(0);
    }
    expect((await found('cat', '--index', 'vectors.npy', '--limit', '2')).sort()).toEqual(['cat-1.jpg', 'cat-2.jpg']);
    expect((await run(['duplicates', '--index', 'vectors.parquet'])).stderr).toMatch(/^8 groups/);
  });

  it('asks for the model where what embed wrote does not say where that is', async () => {
    const model = await writeTestModel('tiny-vit', root);
    await run(['embed', 'photos', '--model', model, '--out', 'vit.jsonl']);
    const unsaid = await run(['search', 'photos/cat-1.jpg', '--index', 'vit.jsonl']);
    expect([unsaid.code, unsaid.stderr]).toEqual([2, expect.stringContaining('give it with --model')]);
    expect(await found('photos/cat-1.jpg', '--index', 'vit.jsonl', '--model', model, '--limit', '1')).toEqual([
      'cat-1.jpg',
    ]);
    const other = await run(['search', 'cat', '--index', 'vit.jsonl', '--model', 'default']);
    expect([other.code, other.stderr]).toEqual([
      2,
      expect.stringMatching(/its vectors are of tiny-vit .*, --model is mobilenet/),
    ]);
  });

  it('says what is wrong in one line', async () => {
    const cases: [string[], RegExp][] = [
      [['search', 'beach'], /^millrace: ERR_WORD_UNKNOWN: .*'beach' is no word .* near ones: beach waggon/],
      [['search', 'cat', 'dog'], /'cat dog' is no word .*known of it: cat, dog\n$/],
      [['search', 'cat', '+'], /nothing follows '\+'/],
      [['search', 'cat', '--index', 'none.idx'], /there is none; make it with: millrace index/],
      [
        ['search', 'cat', '--index', 'none.npy'],
        /there is none; make it with: millrace embed <folders\.\.\.> --out none\.npy/,
      ],
      [['search', 'cat', '--after', 'tuesday'], /after must be a date such as/],
      [['search', 'cat', '--min-score', '7'], /expected a number from -1 to 1/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await run(args);
      expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
    }
  });
});

describe('millrace duplicates', () => {
  it('names the best copy of each group and deletes nothing', async () => {
    const { stdout, stderr, code } = await run(['duplicates', '--json']);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^8 groups, 8 copies .* nothing was deleted\n$/)]);
    const groups = JSON.parse(stdout) as {
      best: { path: string; size: number };
      copies: { size: number; score: number }[];
    }[];
    for (const { best, copies } of groups) expect(best.size).toBeGreaterThanOrEqual(copies[0]?.size as number);
    const { stdout: paths } = await run(['duplicates', '--paths']);
    expect(paths.split('\n').slice(0, -1)).toHaveLength(8);
    expect(await readdir(path.join(root, 'photos'))).toHaveLength(22);
  });
});

describe('millrace index', () => {
  it('passes what has not changed, and tells of what could not be embedded', async () => {
    const folder = await mkdtemp(path.join(root, 'more-'));
    await copyFile(path.join(PHOTOS, 'clock.jpg'), path.join(folder, 'clock.jpg'));
    await writeFile(path.join(folder, 'torn.jpg'), 'no picture');
    const args = ['index', folder, '--index', path.join(folder, 'own.idx')];
    const first = await run(args);
    expect([first.code, first.stderr]).toEqual([
      1,
      expect.stringMatching(/torn\.jpg: ERR_IMAGE_\w+: .*\n.*1 embedded, 1 failed/s),
    ]);
    const second = await run(args);
    expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('0 embedded, 1 unchanged, 1 failed')]);
  });

  it('is refused while another process writes the index, and for an index of another model', async () => {
    const folder = path.join(root, 'held.idx');
    const writer = await createIndex(folder, { dimension: 256 });
    const held = await run(['index', 'photos', '--index', folder]);
    expect([held.code, held.stderr]).toEqual([2, expect.stringMatching(/process \d+ on .* writes to it/)]);
    await writer.close();
    const other = path.join(root, 'other.idx');
    const model = {
      name: 'other',
      digest: 'f'.repeat(32),
      preprocess: 'fast',
      normalized: true,
      dimensions: 256,
    } as const;
    await (await createIndex(other, { dimension: 256, model })).close();
    const refused = await run(['index', 'photos', '--index', other]);
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringMatching(/its vectors are of other .*; make it anew with: millrace index .* --reindex/),
    ]);
  });

  it('makes an index anew by --reindex, while readers go on', async () => {
    const folder = path.join(root, 'again.idx');
    const model = {
      name: 'other',
      digest: 'f'.repeat(32),
      preprocess: 'fast',
      normalized: true,
      dimensions: 8,
    } as const;
    const old = await createIndex(folder, { dimension: 8, model });
    await old.add([{ path: '/old.jpg', vector: new Float32Array(8).fill(1) }]);
    await old.close();
    const reader = await openIndex(folder);
    expect(await reader.search(new Float32Array(8).fill(1))).toHaveLength(1);
    const { code, stderr } = await run(['index', 'photos', '--index', folder, '--reindex']);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/22 embedded.*again\.idx is made anew\n$/s)]);
    await reader.refresh();
    expect([reader.size, reader.dimension, reader.get('/old.jpg')]).toEqual([22, 256, undefined]);
    await reader.close();
    expect((await readdir(root)).filter((name) => name.startsWith('again'))).toEqual(['again.idx']);
    expect((await run(['index', 'photos', '--index', folder])).stderr).toContain('22 unchanged');
  });

  it('leaves an index that opens when the disk is full', async () => {
    const folder = path.join(root, 'full.idx');
    expect((await run(['index', 'photos/cat-1.jpg', 'photos/clock.jpg', '--index', folder])).code).toBe(0);
    // A limit on the size of files stands in for the full disk: 8 blocks of 1,024 bytes, which two vectors fit in and 22 do not.
    const shell = spawn(
      'bash',
      ['-c', `trap '' XFSZ; ulimit -f 8; exec "$0" "$@"`, process.execPath, MAIN, 'index', 'photos', '--index', folder],
      { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let stderr = '';
    shell.stderr.on('data', (chunk) => {
      stderr += String(chunk);
    });
    const code = await new Promise((resolve) => shell.once('close', resolve));
    expect([code, stderr]).toEqual([1, expect.stringMatching(/Cannot write index .*: EFBIG/)]);
    const index = await openIndex(folder, { writable: true });
    expect(index.size).toBe(2);
    await index.close();
    expect((await run(['index', 'photos', '--index', folder])).stderr).toContain('20 embedded, 2 unchanged');
  });

  it('goes on after a kill', async () => {
    const folder = path.join(root, 'killed.idx');
    const running = startCli(['index', 'photos', '--index', folder], { cwd: root });
    while (!(await readdir(folder).catch((): string[] => [])).includes('index.json'))
      await new Promise((go) => setTimeout(go, 5));
    process.kill(running.pid, 'SIGKILL');
    await running.ended;
    const { code, stderr } = await run(['index', 'photos', '--index', folder]);
    expect([code, stderr]).toEqual([0, expect.stringContaining('holds 22 pictures')]);
  });

  it('watches: what comes and goes is found and lost within 5 s, a burst in one run', async () => {
    const folder = await mkdtemp(path.join(root, 'watched-'));
    await copyFile(path.join(PHOTOS, 'clock.jpg'), path.join(folder, 'clock.jpg'));
    const index = path.join(root, 'watched.idx');
    const running = startCli(['index', folder, '--index', index, '--watch'], { cwd: root });
    const until = async (what: () => Promise<boolean>): Promise<number> => {
      const began = Date.now();
      while (!(await what())) {
        if (Date.now() - began > 15_000) throw new Error(`it did not come about: ${running.said()}`);
        await new Promise((go) => setTimeout(go, 50));
      }
      return Date.now() - began;
    };
    await until(async () => running.said().includes('watching'));
    for (const name of await readdir(PHOTOS)) {
      if (name.endsWith('.jpg')) await copyFile(path.join(PHOTOS, name), path.join(folder, name));
    }
    const reader = await openIndex(index);
    const size = async (): Promise<number> => {
      await reader.refresh();
      return reader.size;
    };
    expect(await until(async () => (await size()) === 22)).toBeLessThan(5_000);
    await rm(path.join(folder, 'clock.jpg'));
    expect(await until(async () => (await size()) === 21)).toBeLessThan(5_000);
    await reader.close();
    process.kill(running.pid, 'SIGINT');
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr.match(/ embedded/g)?.length).toBeLessThanOrEqual(4);
  });
});
