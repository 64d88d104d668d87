import { describe, expect, it } from 'vitest';
import { parseExpression } from '../../src/search/index.js';

const FILES = new Set(['./pool.jpg', 'photos/a b.jpg', 'cat.jpg', '/x/y']);

const parse = async (...args: string[]): Promise<string[]> =>
  (await parseExpression(args, (text) => FILES.has(text))).map(({ weight, kind, text }) => `${weight} ${kind} ${text}`);

describe('parseExpression()', () => {
  it.each([
    [
      ['horse', '+', 'stripes'],
      ['1 words horse', '1 words stripes'],
    ],
    [
      ['2:golden', 'retriever', '-', 'leash'],
      ['2 words golden retriever', '-1 words leash'],
    ],
    [['2:golden retriever - 0.5:leash'], ['2 words golden retriever', '-0.5 words leash']],
    [
      ['./pool.jpg', '+', 'night'],
      ['1 picture ./pool.jpg', '1 words night'],
    ],
    [['./pool.jpg + night'], ['1 picture ./pool.jpg', '1 words night']],
    [
      ['photos/a b.jpg', '-', '3:cat.jpg'],
      ['1 picture photos/a b.jpg', '-3 picture cat.jpg'],
    ],
    [
      ['-', 'red', '+', 'circle'],
      ['-1 words red', '1 words circle'],
    ],
    [['https://example.org/a-b+c.jpg'], ['1 url https://example.org/a-b+c.jpg']],
    [['x-ray'], ['1 words x-ray']],
    [['black+white'], ['1 words black+white']],
    [['dog.jpg'], ['1 words dog.jpg']],
    [['and/or'], ['1 words and/or']],
    [['/x/y'], ['1 picture /x/y']],
    [['  a   photo of\ta cat '], ['1 words a photo of a cat']],
    [['10:30', 'train'], ['10 words 30 train']],
  ])('reads %j', async (args, expected) => {
    expect(await parse(...args)).toEqual(expected);
  });

  it.each([[[]], [['  ']], [['cat', '+']], [['-']]])('refuses %j', async (args) => {
    await expect(parse(...args)).rejects.toThrow(RangeError);
  });
});
