/**
 * Makes `models/words/imagenet-words.json`: `tsx scripts/make-word-table.ts [folder of WordNet 3.0]`.
 *
 * A class of ImageNet is a synset of WordNet 3.0, called by its offset in `data.noun` (Debian's package wordnet-base has the very file). The table
 * has every noun that names a class, or something more general that at most 300 classes are kinds of, with the numbers of those classes, 1 to
 * 1000 in ImageNet's order. Of a noun's senses all that have classes count. Running it again gives the same bytes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const MAX_CLASSES = 300;

const root = fileURLToPath(new URL('../', import.meta.url));
const wordnet = process.argv[2] ?? '/usr/share/wordnet';

interface Synset {
  readonly lemmas: readonly string[];
  readonly parents: readonly string[];
}

/** The synsets of `data.noun`, and the notice at its top. */
async function readSynsets(): Promise<{ readonly synsets: Map<string, Synset>; readonly notice: string }> {
  const synsets = new Map<string, Synset>();
  const notice: string[] = [];
  for (const line of (await readFile(path.join(wordnet, 'data.noun'), 'latin1')).split('\n')) {
    if (line.startsWith(' ')) {
      notice.push(line.replace(/^\s*\d+\s?/, '').trim());
      continue;
    }
    // offset, file, type, count of words in hexadecimal, then pairs of word and number, then count of pointers and four fields for each.
    const fields = (line.split(' | ')[0] ?? '').trim().split(' ');
    const [offset] = fields;
    if (offset === undefined || offset === '') continue;
    const words = Number.parseInt(fields[3] as string, 16);
    const lemmas = Array.from({ length: words }, (_, at) => fields[4 + 2 * at] as string);
    const start = 4 + 2 * words;
    const pointers = Number(fields[start]);
    const parents: string[] = [];
    for (let at = start + 1; at < start + 1 + 4 * pointers; at += 4) {
      if (fields[at] === '@' || fields[at] === '@i') parents.push(fields[at + 1] as string);
    }
    synsets.set(offset, { lemmas, parents });
  }
  return {
    synsets,
    notice: notice
      .join('\n')
      .replace(/\n{2,}/g, '\n\n')
      .trim(),
  };
}

const classes = (await readFile(path.join(root, 'scripts/wordnet/imagenet-classes.txt'), 'utf8')).trim().split('\n');
const { synsets, notice } = await readSynsets();

const classesOf = new Map<string, Set<number>>();
for (const [index, offset] of classes.entries()) {
  const waiting = [offset];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const own = classesOf.get(next) ?? new Set();
    classesOf.set(next, own.add(index + 1));
    waiting.push(...(synsets.get(next)?.parents ?? []));
  }
}

const words = new Map<string, Set<number>>();
for (const [offset, own] of classesOf) {
  if (own.size > MAX_CLASSES) continue;
  for (const lemma of synsets.get(offset)?.lemmas ?? []) {
    const word = lemma
      .replace(/\(.*\)$/, '')
      .replaceAll('_', ' ')
      .toLowerCase();
    words.set(word, new Set([...(words.get(word) ?? []), ...own]));
  }
}

/** Numbers as ranges: `3-5,9`. */
function ranges(numbers: ReadonlySet<number>): string {
  const parts: string[] = [];
  const sorted = [...numbers].sort((a, b) => a - b);
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === (sorted[end] as number) + 1) end++;
    parts.push(end === at ? `${sorted[at]}` : `${sorted[at]}-${sorted[end]}`);
    at = end + 1;
  }
  return parts.join(',');
}

const table = Object.fromEntries(
  [...words].sort(([a], [b]) => (a < b ? -1 : 1)).map(([word, own]) => [word, ranges(own)]),
);
const text = JSON.stringify({ words: table });
await writeFile(path.join(root, 'models/words/imagenet-words.json'), `${text}\n`);
await writeFile(path.join(root, 'models/words/LICENSE'), `${notice}\n`);
process.stdout.write(`${words.size} words, ${text.length} bytes\n`);
