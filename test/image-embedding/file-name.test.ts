import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decodePath,
  encodePath,
  isEscapedPath,
  pathOfFileUrl,
  printablePath,
} from '../../src/image-embedding/file-name.js';

const bytesOf = (file: string): Buffer => Buffer.from(encodePath(file));

test('decodePath() and encodePath() give any bytes back', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .array(fc.constantFrom('ü', '😀', '\u{1F480}', 'é', 'a', '/', '\uFFFD', '\uFEFF'))
      .map((parts) => Buffer.from(parts.join(''))),
    fc
      .array(
        fc.oneof(
          fc.constantFrom(...['ü', '😀', '猫'].map((text) => Buffer.from(text))),
          fc.uint8Array({ maxLength: 3 }),
        ),
      )
      .map((parts) => Buffer.concat(parts)),
  );
  fc.assert(
    fc.property(bytes, (name) => {
      expect(bytesOf(decodePath(name)).equals(Buffer.from(name))).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

test('encodePath() leaves a path alone that is sound Unicode', () => {
  for (const name of ['a.jpg', 'ü 😀 \u{1F480}.jpg', '\uFFFD', '\uFEFFx']) {
    expect(encodePath(name)).toBe(name);
    expect(isEscapedPath(name)).toBe(false);
    expect(printablePath(name)).toBe(name);
    expect(decodePath(Buffer.from(name))).toBe(name);
  }
});

test('printablePath() is a file URL for bytes that are not UTF-8, and pathOfFileUrl() gives them back', () => {
  const file = decodePath(Buffer.from('photos/caf\xe9 %41\n.jpg', 'latin1'));
  const printed = printablePath(file);
  expect(printed).toBe(`file://${encodeURI(path.resolve('photos'))}/caf%E9%20%2541%0A.jpg`);
  expect(pathOfFileUrl(printed)).toBe(path.resolve(file));
});

test.each(['file:x.jpg', 'file://host/x.jpg', 'file:/x.jpg', 'file.jpg', 'file:///a%4', 'https:///a'])(
  'pathOfFileUrl() takes %s for a name',
  (text) => expect(pathOfFileUrl(text)).toBeUndefined(),
);
