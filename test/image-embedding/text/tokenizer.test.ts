import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clipTokenizer, siglipTokenizer } from '../../../scripts/make-text-towers.js';
import type { TextSpec } from '../../../src/image-embedding/text/text-spec.js';
import { TextTokenizer } from '../../../src/image-embedding/text/text-tokenizer.js';
import { openAiTokenizer } from './openai-tokenizer.js';

/** OpenAI's vocabulary of CLIP is no part of the repository: where it lies beside it, the real ids are checked, too. */
const VOCABULARY = ['../../../../', '../../../../../']
  .map((up) => fileURLToPath(new URL(`${up}shared/data/clip/bpe_simple_vocab_16e6.txt.gz`, import.meta.url)))
  .find((file) => existsSync(file));

const WORDS = fileURLToPath(new URL('../../../models/words/imagenet-words.json', import.meta.url));
const ODD = [
  "it's 12 o'clock, isn't it?",
  'ÄÖÜ straße Ångström',
  '北京 の 猫 고양이',
  'кошка на крыше',
  'קוטן חתול',
  'cafe\u0301',
  'café',
  '😀👍🏽🇩🇪',
  'ﬁsh and ﬂour',
  '  tabs\t and\nlines  ',
  '100,000.50 $ = ½ €',
  '!!!???...---',
  '&amp; &lt;b&gt;',
  'snake_case and CamelCase',
  'a'.repeat(60),
  'don\u2019t',
  'x\u00a0y',
  '',
];

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace-tokenizer-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

let count = 0;
async function load(json: object, more: Partial<TextSpec>): Promise<TextTokenizer> {
  const tokenizer = path.join(folder, `${count++}.json`);
  await writeFile(tokenizer, JSON.stringify(json));
  return await TextTokenizer.load({
    name: 'test',
    file: '',
    tokenizer,
    tokenizerConfig: { pad_token: '<|endoftext|>' },
    length: 77,
    isPadded: false,
    isLowerCase: false,
    isBare: false,
    ...more,
  });
}

describe('TextTokenizer of CLIP', () => {
  const small = clipTokenizer(['c a', 'ca t</w>', 'd o', 'do g</w>']);
  const [start, end] = [516, 517];

  it('begins and ends a text, and leaves it as long as it is', async () => {
    const tokenizer = await load(small, {});
    const { ids, count: own } = tokenizer.encode('Cat  DOG');
    expect([ids, own]).toEqual([[start, 513, 515, end], 4]);
  });

  it('keeps the end token of a text that is too long', async () => {
    const tokenizer = await load(small, {});
    const { ids } = tokenizer.encode('cat '.repeat(100));
    expect([ids.length, ids[0], ids[75], ids[76]]).toEqual([77, start, 513, end]);
  });

  it('fills a row of a fixed length, with the token that the configuration names, or 0', async () => {
    const named = await load(small, {});
    expect(named.encode('cat', 6)).toEqual({ ids: [start, 513, end, end, end, end], count: 3 });
    const open = await load(small, { tokenizerConfig: {} });
    expect(open.encode('cat', 6).ids).toEqual([start, 513, end, 0, 0, 0]);
  });
});

describe('TextTokenizer of SigLIP', () => {
  const pieces = ['▁a', '▁photo', '▁cat', '▁dog', 's', '▁', 't', '!'];
  const spec = { tokenizerConfig: { pad_token: '</s>' }, length: 64, isPadded: true, isLowerCase: true, isBare: true };

  it('fills every row to 64 with 1, in lower case and without punctuation', async () => {
    const tokenizer = await load(siglipTokenizer(pieces), spec);
    const { ids, count: own } = tokenizer.encode('A "Photo", cats!');
    expect(ids).toHaveLength(64);
    expect(ids.slice(0, own)).toEqual([2, 3, 4, 6, 1]);
    expect(ids.slice(own)).toEqual(new Array(64 - own).fill(1));
  });

  it('cuts at 64 with the end token last', async () => {
    const tokenizer = await load(siglipTokenizer(pieces), spec);
    const { ids } = tokenizer.encode('cat '.repeat(100));
    expect([ids.length, ids[62], ids[63]]).toEqual([64, 4, 1]);
  });

  it('leaves punctuation to SigLIP 2, whose vocabulary has it', async () => {
    const tokenizer = await load(siglipTokenizer(pieces), { ...spec, isBare: false });
    expect(tokenizer.encode('Cat!').ids.slice(0, 3)).toEqual([4, 9, 1]);
  });
});

describe('TextTokenizer.load()', () => {
  it('says that a file is no tokenizer', async () => {
    await expect(load({ model: { type: 'nothing' } }, {})).rejects.toMatchObject({ code: 'ERR_MODEL_CONFIG' });
  });
});

describe.skipIf(VOCABULARY === undefined)(
  "TextTokenizer with CLIP's own vocabulary [needs ../shared/data/clip]",
  () => {
    it('answers what the code of OpenAI does, for nouns, prompts and odd texts', async () => {
      const lines = gunzipSync(await readFile(VOCABULARY as string))
        .toString('utf8')
        .split('\n');
      const merges = lines.slice(1, 49_152 - 256 - 2 + 1);
      const tokenizer = await load(clipTokenizer(merges), {});
      expect(tokenizer.encode('a photo of a cat').ids).toEqual([49_406, 320, 1_125, 539, 320, 2_368, 49_407]);
      expect(tokenizer.padId).toBe(49_407);
      const oracle = openAiTokenizer(merges);
      const { words } = JSON.parse(await readFile(WORDS, 'utf8')) as { words: Record<string, string> };
      const prompts = Object.keys(words).flatMap((word) => [word, `a bad photo of the ${word}.`]);
      const texts = [...prompts, ...ODD];
      const wrong = texts.filter((text) => {
        const expected = oracle(text);
        return expected.length <= 77 && String(tokenizer.encode(text).ids) !== String(expected);
      });
      expect(texts.length).toBeGreaterThan(6_400);
      // Decomposed accents are composed first, by Hugging Face's own tokenizer, too.
      expect(wrong).toEqual(['cafe\u0301']);
    });
  },
);
