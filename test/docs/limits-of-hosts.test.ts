import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

async function page(name: string): Promise<string> {
  return (await readFile(fileURLToPath(new URL(`../../docs/${name}`, import.meta.url)), 'utf8')).replace(/\s+/g, ' ');
}

test('the page on operating says when a container needs an init, and how many open files a process does', async () => {
  const text = await page('operating.md');
  expect(text).toMatch(/only an init collects those: `docker run --init`, or `tini`/);
  expect(text).toMatch(/`ulimit -n` must be 128 or more/);
  expect(text).toMatch(/`ulimit -v`\), start with `NODE_OPTIONS=--disable-wasm-trap-handler`/);
});

test("the command's page says what its processes need of open files and addresses", async () => {
  const text = await page('command.md');
  expect(text).toMatch(/`ulimit -n`\), 128 are enough for two workers, 64 are not/);
  expect(text).toMatch(/`ulimit -v`\), set `NODE_OPTIONS=--disable-wasm-trap-handler`/);
});

test('the page on untrusted input says what becomes of transparency, bare CMYK, small frames and other orientations', async () => {
  const text = await page('untrusted-input.md');
  for (const said of [
    /Transparency is laid over white/,
    /CMYK without a profile .* 12\/255 from Pillow/,
    /frame of a GIF that is smaller than its canvas lies on white or on black/,
    /Orientation is read from EXIF\. In XMP.* it is not/,
  ]) {
    expect(text).toMatch(said);
  }
});
