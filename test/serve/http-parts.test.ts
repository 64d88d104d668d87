import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { decodeBase64, floatsToBase64 } from '../../src/serve/http/base64.js';
import { isCrossOrigin, isKnownHost } from '../../src/serve/http/host-check.js';
import { MAX_CHARACTERS, parseBody, placeOf } from '../../src/serve/http/json-value.js';
import { parseKeys } from '../../src/serve/http/keys.js';
import { readImageSize } from '../../src/serve/image-size.js';
import { formVector, int8Scale } from '../../src/serve/vectors.js';

describe('decodeBase64()', () => {
  test('takes both alphabets, padding or none, and white space', () => {
    const bytes = Buffer.from([0xfb, 0xff, 0xfe, 0x01, 0x02]);
    const text = bytes.toString('base64');
    for (const each of [
      text,
      bytes.toString('base64url'),
      text.replace(/=+$/, ''),
      `${text.slice(0, 4)}\r\n ${text.slice(4)}`,
    ]) {
      expect(decodeBase64(each)).toEqual(bytes);
    }
  });

  test('takes nothing else', () => {
    for (const each of ['', '=', 'A', 'AAAAA', 'AA=A', '====', 'né', 'AA.A', '{"a":1}']) {
      expect(decodeBase64(each), each).toBeUndefined();
    }
  });

  test('floats go out little-endian', () => {
    expect(Buffer.from(floatsToBase64(Float32Array.of(1, -2)), 'base64')).toEqual(
      Buffer.from([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]),
    );
  });
});

describe('parseBody()', () => {
  const word = 'a-random-word';
  const parsed = (value: unknown) => {
    const reply = parseBody(Buffer.from(JSON.stringify(value)), word);
    if (reply.kind !== 'parsed') throw new Error(reply.message);
    return reply;
  };

  test('takes long pictures out, and leaves texts and short ones where they are', () => {
    const bytes = Buffer.alloc(6_000, 7);
    const bare = bytes.toString('base64');
    const text = 'words and more words '.repeat(400);
    const { value, pictures } = parsed({ input: [`data:image/png;base64,${bare}`, bare, text, 'short'] });
    const [first, second, ...rest] = (value as { input: string[] }).input as [string, string, ...string[]];
    expect([placeOf(first, word), placeOf(second, word)]).toEqual([
      { index: 0, isDataUrl: true },
      { index: 1, isDataUrl: false },
    ]);
    expect(pictures.map((each) => Buffer.from(each))).toEqual([bytes, bytes]);
    expect(rest).toEqual([text, 'short']);
  });

  test('a placeholder of another word is a string like any other', () => {
    expect(placeOf('data:image/guessed;url;0', word)).toBeUndefined();
  });

  test('refuses more texts than the loop should see, however they are cut', () => {
    const body = JSON.stringify(Array.from({ length: 50 }, () => 'a b '.repeat(MAX_CHARACTERS / 100)));
    expect(parseBody(Buffer.from(body), word)).toMatchObject({ kind: 'refused', isComplex: true });
  });
});

describe('isKnownHost()', () => {
  test('knows addresses, localhost and the names that were given', () => {
    for (const host of [
      '127.0.0.1',
      '127.0.0.1:7997',
      '[::1]:7997',
      '10.1.2.3',
      'localhost:80',
      'a.localhost',
      'Pictures.example:7997',
    ]) {
      expect(isKnownHost(host, ['pictures.example']), host).toBe(true);
    }
    for (const host of [
      undefined,
      '',
      'evil.example',
      'localhost.evil.example',
      'pictures.example.evil',
      '127.0.0.1.evil.example',
      '[evil]',
      'a:b:c',
    ]) {
      expect(isKnownHost(host, ['pictures.example']), host).toBe(false);
    }
  });
});

describe('isCrossOrigin()', () => {
  const asks = (method: string, headers: Record<string, string>): boolean =>
    isCrossOrigin(method, (name) => headers[name]);

  test('tells a foreign page from the own one, and from a link that is followed', () => {
    expect(asks('GET', {})).toBe(false);
    expect(asks('POST', { 'sec-fetch-site': 'same-origin' })).toBe(false);
    expect(asks('POST', { 'sec-fetch-site': 'cross-site' })).toBe(true);
    expect(asks('POST', { 'sec-fetch-site': 'same-site' })).toBe(true);
    expect(
      asks('GET', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }),
    ).toBe(false);
    expect(
      asks('GET', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }),
    ).toBe(true);
    expect(asks('POST', { origin: 'http://localhost:7997', host: 'localhost:7997' })).toBe(false);
    expect(asks('POST', { origin: 'https://evil.example', host: 'localhost:7997' })).toBe(true);
    expect(asks('POST', { origin: 'null', host: 'localhost:7997' })).toBe(true);
  });
});

test('parseKeys() takes one key a line', () => {
  expect(parseKeys('# team\r\nfirst\r\n\n  second \n#third')).toEqual(['first', 'second']);
});

describe('readImageSize()', () => {
  const picture = sharp({ create: { width: 37, height: 21, channels: 3, background: 'red' } });

  test('reads the size of each format from its header', async () => {
    for (const format of ['jpeg', 'png', 'gif', 'webp', 'avif', 'tiff'] as const) {
      expect(readImageSize(await picture.clone().toFormat(format).toBuffer())).toEqual({
        width: 37,
        height: 21,
        format,
      });
    }
    expect(readImageSize(await picture.clone().jpeg({ progressive: true }).withMetadata().toBuffer())).toMatchObject({
      width: 37,
    });
    expect(readImageSize(await picture.clone().webp({ lossless: true }).toBuffer())).toMatchObject({
      width: 37,
      height: 21,
    });
  });

  test('finds none where the header is cut or is no picture', async () => {
    const png = await picture.clone().png().toBuffer();
    for (let length = 0; length < 24; length++) expect(readImageSize(png.subarray(0, length))).toBeUndefined();
    const jpeg = await picture.clone().jpeg().toBuffer();
    for (let length = 0; length < 160; length++) readImageSize(jpeg.subarray(0, length));
    expect(readImageSize(Buffer.from('no picture at all'))).toBeUndefined();
  });
});

describe('formVector()', () => {
  test('cuts what is beyond the scale, and packs bits above zero', () => {
    const vector = Float32Array.of(1, -1, 0, 0.01, -0.01, 0, 0.02, 0);
    const scale = int8Scale(8);
    expect(formVector(vector, { type: 'int8', isBase64: false })).toEqual(
      Array.from(vector, (value) => Math.max(-128, Math.min(127, Math.round(value * scale))) + 0),
    );
    expect(formVector(vector, { type: 'ubinary', isBase64: false })).toEqual([0b10010010]);
    expect(formVector(vector, { type: 'binary', isBase64: false })).toEqual([0b10010010 - 128]);
    expect(() => formVector(vector.subarray(1), { type: 'ubinary', isBase64: false })).toThrow('must divide by 8');
  });
});
