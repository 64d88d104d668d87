/** What belongs to the caller's process stays as it is, though images are decoded and run in it. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { createImageEmbeddingPool, createThumbnail } from '../../src/image-embedding/index.js';

const photo = fileURLToPath(new URL('../../examples/photos/cat-1.jpg', import.meta.url));

const svg = Buffer.from(
  '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>',
);

/** Everything that a library could set for the whole process. */
async function settings() {
  const { items, memory, files } = sharp.cache();
  // Set on purpose, as the documentation says: the runtime reads it from the process.
  const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env;
  return {
    env,
    listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
    cwd: process.cwd(),
    title: process.title,
    cache: { items: items.max, memory: memory.max, files: files.max },
    concurrency: sharp.concurrency(),
    simd: sharp.simd(),
    // Loaders that Millrace itself never uses: by content and from a file.
    svg: (await sharp(svg).png().toBuffer()).length,
    file: (await sharp(photo).metadata()).format,
  };
}

test.each([
  ['createThumbnail()', async () => void (await createThumbnail(await readFile(photo)))],
  [
    'a pool in the inline host',
    async () => {
      await using pool = createImageEmbeddingPool({ host: 'inline' });
      await pool.embedImage(photo);
      await pool.batchEmbedImages([photo, await readFile(photo)]);
    },
  ],
  [
    'a pool in the thread host',
    async () => {
      await using pool = createImageEmbeddingPool({ host: 'thread' });
      await pool.embedImage(photo);
    },
  ],
  [
    'a pool in the process host',
    async () => {
      await using pool = createImageEmbeddingPool({ workers: 1 });
      await pool.embedImage(photo);
    },
  ],
])(
  '%s leaves the settings of sharp, and of the process, as they were',
  async (_, use) => {
    sharp.concurrency(3);
    sharp.cache({ memory: 77, files: 11, items: 33 });
    const before = await settings();
    await use();
    expect(await settings()).toEqual(before);
  },
  30_000,
);

test('a second copy of sharp, in whichever form, does not set back what the first was set to', async () => {
  const script = `
    const sharp = require('sharp');
    sharp.concurrency(3);
    sharp.cache({ memory: 77, files: 11, items: 33 });
    (async () => {
      const { createThumbnail } = await import(process.argv[1]);
      await createThumbnail(require('node:fs').readFileSync(process.argv[2]));
      const { memory, files, items } = sharp.cache();
      console.log(JSON.stringify([sharp.concurrency(), memory.max, files.max, items.max]));
    })();
  `;
  const library = new URL('../../dist/image-embedding/index.js', import.meta.url).href;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=commonjs', '-e', script, library, photo],
    {
      cwd: fileURLToPath(new URL('../../', import.meta.url)),
    },
  );
  expect(JSON.parse(stdout)).toEqual([3, 77, 11, 33]);
}, 30_000);

test('createThumbnail() closes the loaders of a process that is given up to it', async () => {
  await createThumbnail(await readFile(photo), { restrictLoaders: true });
  await expect(sharp(svg).png().toBuffer()).rejects.toThrow();
  expect((await createThumbnail(await readFile(photo))).length).toBeGreaterThan(100);
});
