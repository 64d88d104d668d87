import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RunError, UsageError } from '../../src/cli/errors.js';
import { type ListOptions, listNames } from '../../src/cli/input/raw-names.js';

/** The names in a list that comes in these chunks. */
async function names(chunks: readonly (Uint8Array | string)[], options: ListOptions = {}): Promise<string[]> {
  const found: string[] = [];
  const stream = Readable.from(chunks.map((chunk) => Buffer.from(chunk as string)));
  for await (const name of listNames(stream, options)) found.push(name.toString('latin1'));
  return found;
}

const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

describe('listNames()', () => {
  test('cuts at LF, and takes one CR before it off, wherever chunks end', async () => {
    const list = Buffer.from('a.jpg\r\nb\rc.jpg\n\r\r\nd\u2028e\u0085.jpg\nü\n \n\nlast');
    const wanted = ['a.jpg', 'b\rc.jpg', '\r', latin1('d\u2028e\u0085.jpg'), latin1('ü'), ' ', '', 'last'];
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 1, max: list.length - 1 }), { maxLength: 8 }), async (cuts) => {
        const ends = [0, ...cuts.sort((a, b) => a - b), list.length];
        const chunks = ends.slice(1).map((end, index) => list.subarray(ends[index], end));
        expect(await names(chunks)).toEqual(wanted);
      }),
      { numRuns: 50 },
    );
  });

  test('takes NUL for the separator where the beginning holds one, or where it is told to', async () => {
    expect(await names(['a\nb.jpg\0c\r\0d.jpg'])).toEqual(['a\nb.jpg', 'c\r', 'd.jpg']);
    expect(await names(['a.jpg\n', 'b.jpg\0', 'c.jpg'], { isNullSeparated: true })).toEqual(['a.jpg\nb.jpg', 'c.jpg']);
    expect(await names(['a\0b\0'], { isNullSeparated: true })).toEqual(['a', 'b']);
  });

  test('takes a byte order mark off, also in pieces and from a list that NUL separates', async () => {
    expect(await names([[0xef], [0xbb], [0xbf], 'a.jpg\n'].map((part) => Buffer.from(part as string)))).toEqual([
      'a.jpg',
    ]);
    expect(await names(['\uFEFFa.jpg\0b.jpg\0'])).toEqual(['a.jpg', 'b.jpg']);
    expect(await names(['\uFEFF'])).toEqual([]);
    expect(await names(['a.jpg\n\uFEFFb.jpg\n'])).toEqual(['a.jpg', latin1('\uFEFFb.jpg')]);
  });

  test.each([
    ['with its mark, little end first', Buffer.from('\uFEFFa.jpg\r\n', 'utf16le')],
    ['with its mark, big end first', Buffer.from('\uFEFFa.jpg\r\n', 'utf16le').swap16()],
    ['without, little end first', Buffer.from('photos/a.jpg\n', 'utf16le')],
    ['without, big end first', Buffer.from('photos/a.jpg\n', 'utf16le').swap16()],
  ])('names UTF-16 for what it is: %s', async (_which, bytes) => {
    for (const chunks of [[bytes], [bytes.subarray(0, 1), bytes.subarray(1)]]) {
      const reading = names(chunks);
      await expect(reading).rejects.toThrow(/it is in UTF-16, and must be in UTF-8/);
      await expect(reading).rejects.toBeInstanceOf(UsageError);
    }
  });

  test('keeps bytes that are not UTF-8', async () => {
    expect(await names([Buffer.from('caf\xe9.jpg\n', 'latin1')])).toEqual(['caf\xe9.jpg']);
  });

  test('refuses what has no separator for as long as no name is', async () => {
    await expect(names(Array.from({ length: 20 }, () => 'x'.repeat(100_000)))).rejects.toBeInstanceOf(RunError);
  });

  test('reads no further than names are taken', async () => {
    let read = 0;
    const stream = new Readable({
      highWaterMark: 1,
      read() {
        read++;
        this.push(`${read}.jpg\n`);
      },
    });
    for await (const name of listNames(stream, {})) if (name.toString() === '5.jpg') break;
    expect(read).toBeLessThan(20);
  });
});
