import { expect, test } from 'vitest';
import { BatchError } from '../../../src/image-embedding/index.js';

test('BatchError.fault is the caller’s for a path that is no string', () => {
  const error = new TypeError('Cannot read image: path must be a string, received 5');
  expect(new BatchError([{ index: 1, input: '5', error }], 2).fault).toBe('caller');
  expect(new BatchError([{ index: 1, input: 'a', error: new Error('odd') }], 2).fault).toBe('model');
});
