import path from 'node:path';
import { expect, test } from 'vitest';
import { createExclusion } from '../../src/cli/input/globs.js';

test.each<[pattern: string, file: string, root: string | undefined, isExcluded: boolean]>([
  ['@eaDir', 'photos/@eaDir/x.jpg', 'photos', true],
  ['@eaDir', 'photos/a/@eaDir', 'photos', true],
  ['*.gif', 'photos/a/x.gif', 'photos', true],
  ['*.gif', 'photos/x.gif.jpg', 'photos', false],
  ['old', 'old/a.jpg', 'old', false],
  ['old', 'old/a.jpg', undefined, true],
  ['old/', 'photos/old/a.jpg', 'photos', true],
  ['raw/**', 'photos/raw/a.jpg', 'photos', true],
  ['raw/**', 'photos/raw', 'photos', true],
  ['photos/raw', 'photos/raw/a.jpg', 'photos', true],
  ['./photos/raw', 'photos/raw/a.jpg', 'photos', true],
  ['**/@eaDir/**', 'photos/x/@eaDir/y.jpg', 'photos', true],
  ['**/@eaDir/**', 'photos/x/y.jpg', 'photos', false],
  ['.*', 'photos/.hidden.jpg', 'photos', true],
  ['raw', 'photos/raw.jpg', 'photos', false],
  ['{a,b}.jpg', 'b.jpg', undefined, true],
  ['a\\*.jpg', 'a*.jpg', undefined, true],
  ['a\\*.jpg', 'ab.jpg', undefined, false],
])('--exclude %s: %s in %s: %s', (pattern, file, root, isExcluded) => {
  expect(createExclusion([pattern])(file, root)).toBe(isExcluded);
  expect(createExclusion([pattern])(path.resolve(file), root)).toBe(isExcluded);
});

test('--exclude takes absolute paths, and any of several patterns', () => {
  const isExcluded = createExclusion(['x', path.resolve('photos/raw')]);
  expect(isExcluded('photos/raw/a.jpg', 'photos')).toBe(true);
  expect(isExcluded('photos/a.jpg', 'photos')).toBe(false);
});
