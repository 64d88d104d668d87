import { copyFile, mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { descendants } from '../support/process-tree.js';
import { tempFolder } from '../support/temp-folder.js';
import { Examples, exampleFiles, root } from './run-example.js';

const photos = path.join(root, 'examples', 'photos');
let examples: Examples;
const at = tempFolder('examples ü');
beforeAll(async () => {
  examples = await Examples.prepare();
});
afterAll(async () => {
  await examples.remove();
});

/** An answer of photo-service.ts. */
interface Found {
  readonly hits: readonly { readonly file: string }[];
}

/** How many lines select-shutdown.ts has written. */
function written(stdout: string): number {
  return (stdout.match(/^\d+/gm) ?? []).reduce((sum, count) => sum + Number(count), 0);
}

test('every example says in its header how it is started, and is in the list', async () => {
  const list = await readFile(path.join(root, 'examples', 'README.md'), 'utf8');
  const programs = (await exampleFiles()).filter((name) => name.endsWith('.ts'));
  expect(programs.length).toBeGreaterThanOrEqual(9);
  for (const name of programs) {
    const text = await readFile(path.join(root, 'examples', name), 'utf8');
    const header = text.slice(0, text.indexOf('*/'));
    expect(header, name).toMatch(new RegExp(`^ \\* {5}.*npm run (--silent )?example examples/${name}`, 'm'));
    expect(list).toContain(`(${name})`);
  }
});

// Several processes each, beside whatever else the machine does.
describe.concurrent('examples', { timeout: 90_000 }, () => {
  test('pipeline.ts counts words, and ends with the error of a stage', async () => {
    const file = at('words.txt');
    await writeFile(file, `${'water wheel\r\n'.repeat(2_000)}water mill`);
    const done = await examples.run('pipeline', [file]);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout.split('\n').slice(0, 3)).toEqual([
      '3 words in 1 files; most often:',
      '  2001  water',
      '  2000  wheel',
    ]);
    const failed = await examples.run('pipeline', [file, at('absent.txt'), file]);
    expect(failed).toMatchObject({ code: 1, stdout: '' });
    expect(failed.stderr).toContain('Cannot count words: ENOENT');
  });

  test('request-reply.ts sells no seat twice', async () => {
    expect(await examples.run('request-reply')).toEqual({
      code: 0,
      stderr: '',
      stdout: [
        'seats 1, 2, 3, 4',
        'seats 5, 6, 7, 8',
        'SoldOutError: Cannot reserve 4 seats: 2 are left',
        'seats 9, 10',
        'RangeError: Cannot reserve: count must be 1 or more, received 0',
        '',
      ].join('\n'),
    });
  });

  test('select-shutdown.ts writes full batches, the rest by timer, and what was read when it is stopped', async () => {
    const { child, ended, printed } = examples.start('select-shutdown');
    child.stdin?.write('line\n'.repeat(250));
    await printed((stdout) => written(stdout) === 250);
    child.stdin?.write('line\n'.repeat(130));
    await printed((stdout) => written(stdout) > 250);
    child.kill('SIGTERM');
    const { code, stdout, stderr } = await ended;
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain('100 lines (full)');
    expect(stdout).toContain('lines (timer)');
    expect(written(stdout)).toBe(380);
  });

  test('select-shutdown.ts writes what is left at the end of the input', async () => {
    const { code, stdout } = await examples.run('select-shutdown', [], 'line\n'.repeat(130));
    expect(code).toBe(0);
    // On a busy machine its timer may come in between.
    expect(written(stdout)).toBe(130);
  });

  test('custom-worker.ts serves urgent requests first, and ends', async () => {
    const { stdout } = await examples.run('custom-worker');
    expect(stdout.split('\n')).toEqual(['a b C', 'urgent c, routine A, routine B', '']);
  });

  test('tracing.ts prints one trace, across the caller, another host and the worker process there', async () => {
    const { code, stdout, stderr } = await examples.run('tracing');
    expect(code).toBe(0);
    expect(stdout).toContain('HELLO');
    const spans = [...`${stdout}${stderr}`.matchAll(/^trace (\S+) {2}span (\S+) {2}below (\S+) +(.*)$/gm)];
    expect(new Set(spans.map(([, traceId]) => traceId)).size).toBe(1);
    const parentOf = new Map(spans.map(([, , id, parent]) => [id, parent]));
    const [, , inWorker] = spans.find(([, , , , name]) => name === 'worker: shout') ?? [];
    const way: (string | undefined)[] = [];
    for (let id = inWorker; id !== undefined && id !== 'none'; id = parentOf.get(id)) {
      way.push(spans.find(([, , spanId]) => spanId === id)?.[4]);
    }
    expect(way).toEqual(['worker: shout', 'caller: text.shout', 'caller: text.shout', 'caller: request']);
  });

  test('custom-worker.ts is under 60 lines', async () => {
    const text = await readFile(path.join(root, 'examples', 'custom-worker.ts'), 'utf8');
    expect(text.trimEnd().split('\n').length).toBeLessThan(60);
  });

  test('image-pool.ts embeds each image, and goes on past one that fails', async () => {
    const bad = at('not-an-image.jpg');
    await writeFile(bad, 'no image');
    const { code, stdout, stderr } = await examples.run('image-pool', [path.join(photos, 'cat-1.jpg'), bad]);
    expect(stdout).toMatch(/^1\/2 .*cat-1\.jpg: 256 numbers: /);
    expect(stderr).toMatch(/^2\/2 .*: ERR_IMAGE_UNSUPPORTED: /);
    expect(code).toBe(1);
  });

  test('photo-search.ts embeds a folder once, finds the other picture of the cat, and makes a page', async () => {
    const library = at('library <1>');
    await mkdir(library);
    for (const name of ['cat-1.jpg', 'cat-2.jpg', 'rocket-1.jpg']) {
      await copyFile(path.join(photos, name), path.join(library, name));
    }
    const page = at('results.html');
    const query = path.join(library, 'cat-1.jpg');
    const first = await examples.run('photo-search', [library, query, page]);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toMatch(
      /^3 photographs, 3 of them embedded now\n0\.9\d\d {2}cat-2\.jpg\n0\.\d{3} {2}rocket-1\.jpg\npage: file:/,
    );
    const html = await readFile(page, 'utf8');
    expect(html.match(/<figure>/g)).toHaveLength(3);
    expect(html).toContain('library%20%3C1%3E/cat-2.jpg');

    await copyFile(path.join(photos, 'rocket-2.jpg'), path.join(library, 'rocket-2.jpg'));
    const second = await examples.run('photo-search', [library, query, page]);
    expect(second.stdout).toContain('4 photographs, 1 of them embedded now');
    expect((await readdir(library)).sort()).toEqual([
      '.millrace-index.jsonl',
      'cat-1.jpg',
      'cat-2.jpg',
      'rocket-1.jpg',
      'rocket-2.jpg',
    ]);
  });

  test('dedupe-photos.ts finds copies in another format, and leaves everything where it is', async () => {
    const library = await mkdtemp(at('dedupe-'));
    await copyFile(path.join(photos, 'stairs.jpg'), path.join(library, 'stairs.jpg'));
    await copyFile(path.join(photos, 'cat-1.jpg'), path.join(library, 'cat.jpg'));
    await sharp(path.join(photos, 'stairs.jpg'))
      .resize(300)
      .webp({ quality: 50 })
      .toFile(path.join(library, 'copy.webp'));
    const { code, stdout, stderr } = await examples.run('dedupe-photos', [library]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^keep stairs\.jpg \(\d+ bytes\)\n {5}copy\.webp \(\d+ bytes, 0\.9\d\d\)\n3 photographs, 1 of them copies/,
    );
    expect(await readdir(library)).toHaveLength(3);
  });

  test('mandelbrot.ts draws in threads', async () => {
    const { code, stdout, stderr } = await examples.run('mandelbrot');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(33);
    // The set lies symmetrically about the real axis, and the middle row cuts through its body.
    expect(lines.slice(0, 16)).toEqual(lines.slice(16, 32).reverse());
    expect(lines[15]).toMatch(/@{30}/);
    expect(lines[32]).toMatch(/^32 rows by \d threads; this thread stayed free$/);
  });

  test('keywords.ts answers every line in order, also those that a killed worker held', async () => {
    const { child, ended, printed } = examples.start('keywords');
    child.stdin?.write('The mill turns the mill wheel\n12 3\n');
    await printed(/^\{"error":"Cannot find keywords: expected words, received '12 3'"\}$/m);
    const [worker] = descendants(child.pid as number);
    process.kill(worker as number, 'SIGKILL');
    const lines = Array.from(
      { length: 200 },
      (_, n) => `line ${'wheel '.repeat((n % 3) + 1)}${'water '.repeat(n % 5)}`,
    );
    child.stdin?.end(`${lines.join('\n')}\n`);
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(0);
    const answers = stdout.trimEnd().split('\n');
    expect(answers).toHaveLength(202);
    expect(JSON.parse(answers[0] as string).keywords[0]).toBe('mill');
    expect(JSON.parse(answers.at(-1) as string).keywords[0]).toBe('water');
    expect(stderr).toContain('worker-1: crash');
    expect(stderr).toContain('202 lines, 201 with keywords, 1 without');
  });

  test('keywords.ts finishes the lines that were read when it is stopped', async () => {
    const { child, ended, printed } = examples.start('keywords');
    child.stdin?.write('water\n'.repeat(20));
    await printed((stdout) => stdout.split('\n').length > 20);
    child.kill('SIGTERM');
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(0);
    expect(stdout).toBe('{"keywords":["water"]}\n'.repeat(20));
    expect(stderr).toContain('20 lines, 20 with keywords, 0 without');
  });

  test('thread-pipeline.ts gets the factors of each number from its thread, and ends', async () => {
    const { code, stdout, stderr } = await examples.run('thread-pipeline', ['12', '1000000007', '600851475143']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toBe(
      '12 = 2 x 2 x 3\n1000000007 = 1000000007\n600851475143 = 71 x 839 x 1471 x 6857\n3 of 3 numbers\n',
    );
  });

  test('thread-pipeline.ts stops at Ctrl-C with numbers under way', async () => {
    const { child, ended, printed } = examples.start(
      'thread-pipeline',
      Array.from({ length: 2_000 }, () => '1000000000039'),
    );
    await printed(/1000000000039 = /);
    child.kill('SIGINT');
    const { code, stdout } = await ended;
    expect(code).toBe(0);
    expect(Number(/^(\d+) of 2000 numbers$/m.exec(stdout)?.[1])).toBeLessThan(2_000);
  });

  test('photo-service.ts finds by words and by a picture, refuses a bad one, and keeps its index', async () => {
    const library = at('service');
    await mkdir(library);
    for (const name of ['cat-1.jpg', 'cat-2.jpg', 'rocket-1.jpg']) {
      await copyFile(path.join(photos, name), path.join(library, name));
    }
    for (const count of [3, 0]) {
      const { child, ended, printed } = examples.start('photo-service', [library], { PORT: '0' });
      const [, url = ''] = await printed(/^listening on (\S+)$/m);
      const byWords = await fetch(`${url}/search?words=rocket`);
      expect(((await byWords.json()) as Found).hits[0]?.file).toBe('rocket-1.jpg');
      const cat = await readFile(path.join(photos, 'cat-1.jpg'));
      const byPicture = await fetch(`${url}/search`, { method: 'POST', body: cat });
      expect(((await byPicture.json()) as Found).hits.map(({ file }) => file).slice(0, 2)).toEqual([
        'cat-1.jpg',
        'cat-2.jpg',
      ]);
      const bad = await fetch(`${url}/search`, { method: 'POST', body: 'no picture' });
      expect([bad.status, ((await bad.json()) as { code: string }).code]).toEqual([422, 'ERR_IMAGE_UNSUPPORTED']);
      expect((await fetch(`${url}/search`)).status).toBe(400);
      child.kill('SIGTERM');
      const { code, stdout, stderr } = await ended;
      expect([code, stderr]).toEqual([null, '']);
      expect(child.signalCode).toBe('SIGTERM');
      expect(stdout).toContain(`3 photographs, ${count} of them embedded now\n`);
    }
  });
});
