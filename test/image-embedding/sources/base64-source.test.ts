import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isMillraceError } from '../../../src/core/index.js';
import { bytesFromBase64, bytesFromMemory } from '../../../src/image-embedding/sources/memory-source.js';

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isMillraceError(error)) return error.code;
    if (error instanceof TypeError) return 'TypeError';
    if (error instanceof RangeError) return 'RangeError';
    throw error;
  }
  return 'none';
}

describe('bytesFromBase64()', () => {
  it('gives back any bytes, with and without padding, white space and a data URL around them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(), (bytes, at) => {
        const text = Buffer.from(bytes).toString('base64');
        const cut = at % (text.length + 1);
        for (const form of [
          text,
          text.replace(/=+$/, ''),
          `${text.slice(0, cut)}\r\n \t${text.slice(cut)}\n`,
          `data:image/png;base64,${text}`,
          `data:;charset=x;base64,${text}`,
          ` DATA:text/html;BASE64,${text}`,
          `data:image/png;base64,${encodeURIComponent(text)}`,
        ]) {
          expect(Buffer.from(bytesFromBase64(form, 1000)).equals(Buffer.from(bytes))).toBe(true);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('refuses everything that is not in the standard alphabet', () => {
    for (const text of [
      '****',
      'AAA',
      'A',
      'AAAAA',
      'AA=A',
      '=AAA',
      'AAA==',
      'AA=',
      'AAAA=',
      'AAAA====',
      'AA-_',
      'AAÀA',
      'AAA\u0000',
      'AA👍',
      'AB==',
      'AAB=',
      'QUJD,QUJD',
      'http://example.com/cat.jpg',
      'data:image/png,AAAA',
      'data:image/png;base64',
      'data:image/png;base64x,AAAA',
      'data:image/png;base64,%E0%A4%A',
      'data:image/png;base64,A*AA',
    ]) {
      // Without padding, three characters are two whole bytes when the last carries no loose bits.
      const expected = text === 'AAA' ? 'none' : 'ERR_BASE64_INVALID';
      expect([text, codeOf(() => bytesFromBase64(text, 1000))]).toEqual([text, expected]);
    }
  });

  it('finds one foreign character anywhere', () => {
    const foreign = [...Array(256).keys()]
      .map((code) => String.fromCharCode(code))
      .filter((c) => !/[A-Za-z0-9+/=\s%]/.test(c));
    const good = Buffer.alloc(60, 'x').toString('base64');
    for (const character of foreign) {
      for (const at of [0, 1, 41, good.length - 1]) {
        const text = good.slice(0, at) + character + good.slice(at + 1);
        expect([character, at, codeOf(() => bytesFromBase64(text, 1000))]).toEqual([
          character,
          at,
          'ERR_BASE64_INVALID',
        ]);
      }
    }
  });

  it('checks the length before it decodes', () => {
    const text = Buffer.alloc(1001).toString('base64');
    expect(codeOf(() => bytesFromBase64(text, 1000))).toBe('ERR_IMAGE_TOO_LARGE');
    expect(codeOf(() => bytesFromBase64('*'.repeat(10_000), 1000))).toBe('ERR_IMAGE_TOO_LARGE');
    expect(codeOf(() => bytesFromBase64(' '.repeat(10_000), 1000))).toBe('ERR_IMAGE_TOO_LARGE');
    expect(bytesFromBase64(Buffer.alloc(1000).toString('base64'), 1000).byteLength).toBe(1000);
  });

  it('says that nothing is no image, and that another type is a mistake', () => {
    expect(codeOf(() => bytesFromBase64('', 10))).toBe('RangeError');
    expect(codeOf(() => bytesFromBase64(' \n', 10))).toBe('ERR_IMAGE_CORRUPT');
    expect(codeOf(() => bytesFromBase64('data:image/png;base64,', 10))).toBe('ERR_IMAGE_CORRUPT');
    expect(codeOf(() => bytesFromBase64(7, 10))).toBe('TypeError');
  });
});

describe('bytesFromMemory()', () => {
  it('takes every view of bytes without a copy', () => {
    const buffer = new ArrayBuffer(8);
    expect(bytesFromMemory(buffer, 8).buffer).toBe(buffer);
    const view = bytesFromMemory(new DataView(buffer, 2, 4), 8);
    expect([view.buffer, view.byteOffset, view.byteLength]).toEqual([buffer, 2, 4]);
    const bytes = Buffer.from('abc');
    expect(bytesFromMemory(bytes, 8)).toBe(bytes);
  });

  it('refuses what is too much, nothing, or something else', () => {
    expect(codeOf(() => bytesFromMemory(new Uint8Array(9), 8))).toBe('ERR_IMAGE_TOO_LARGE');
    expect(codeOf(() => bytesFromMemory(new Uint8Array(0), 8))).toBe('ERR_IMAGE_CORRUPT');
    for (const value of ['abc', [1, 2], {}, null, undefined, 3]) {
      expect(codeOf(() => bytesFromMemory(value, 8))).toBe('TypeError');
    }
  });
});
