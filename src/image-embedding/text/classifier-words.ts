/** The weights of a classifier, out of its ONNX file: a row for each class, in the space of the model's embeddings. */

import { readFile } from 'node:fs/promises';
import { packageFile } from '../../worker/internal.js';
import { normalizeInPlace } from '../embedding-vector.js';
import { WordUnknownError } from '../model/model-errors.js';
import { nearestName } from '../model/resolve-model.js';

/** Rows of `dimension` numbers, one after another. */
export interface ClassRows {
  readonly rows: Float32Array;
  readonly classes: number;
  readonly dimension: number;
}

interface Field {
  readonly number: number;
  /** The bytes of a length-delimited field. */
  readonly bytes: Buffer | undefined;
  readonly value: number;
}

/** Field numbers of ONNX: `ModelProto.graph`, `GraphProto.initializer`, and those of `TensorProto`. */
const GRAPH = 7;
const INITIALIZER = 5;
const DIMS = 1;
const DATA_TYPE = 2;
const FLOAT_DATA = 4;
const RAW_DATA = 9;
const FLOAT = 1;

/**
 * Reads the classifier of a model: its last float32 weights of one of the counts of classes.
 *
 * @param counts How many classes there may be.
 * @returns Undefined when there are none.
 */
export async function readClassRows(file: string, counts: readonly number[]): Promise<ClassRows | undefined> {
  const model = await readFile(file);
  let found: ClassRows | undefined;
  for (const graph of fieldsOf(model)) {
    if (graph.number !== GRAPH || graph.bytes === undefined) continue;
    for (const { number, bytes } of fieldsOf(graph.bytes)) {
      if (number === INITIALIZER && bytes !== undefined) found = asRows(bytes, counts) ?? found;
    }
  }
  return found;
}

/** A tensor as rows of classes; undefined when it is something else. */
function asRows(tensor: Buffer, counts: readonly number[]): ClassRows | undefined {
  const dims: number[] = [];
  let type = 0;
  let data: Buffer | undefined;
  for (const { number, bytes, value } of fieldsOf(tensor)) {
    if (number === DIMS && bytes === undefined) dims.push(value);
    else if (number === DIMS) dims.push(...varints(bytes as Buffer));
    else if (number === DATA_TYPE) type = value;
    else if ((number === RAW_DATA || number === FLOAT_DATA) && bytes !== undefined) data = bytes;
  }
  const [first = 0, second = 0, ...rest] = dims;
  if (type !== FLOAT || data === undefined || !rest.every((each) => each === 1) || second === 0) return undefined;
  if (data.length !== 4 * first * second) return undefined;
  const numbers = new Float32Array(first * second);
  new Uint8Array(numbers.buffer).set(data);
  if (counts.includes(first)) return { rows: numbers, classes: first, dimension: second };
  if (!counts.includes(second)) return undefined;
  const rows = new Float32Array(numbers.length);
  for (let row = 0; row < first; row++) {
    for (let column = 0; column < second; column++)
      rows[column * first + row] = numbers[row * second + column] as number;
  }
  return { rows, classes: second, dimension: first };
}

/** The fields of a protobuf message. Ends at the first that is none. */
function* fieldsOf(message: Buffer): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; at < message.length; shift += 7) {
      const byte = message[at++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < message.length) {
    const key = varint();
    const number = Math.floor(key / 8);
    const wire = key % 8;
    if (wire === 0) yield { number, bytes: undefined, value: varint() };
    else if (wire === 2) {
      const length = varint();
      yield { number, bytes: message.subarray(at, at + length), value: 0 };
      at += length;
    } else if (wire === 1 || wire === 5) {
      at += wire === 1 ? 8 : 4;
    } else return;
  }
}

function* varints(bytes: Buffer): Generator<number> {
  let value = 0;
  let shift = 0;
  for (const byte of bytes) {
    value += (byte & 127) * 2 ** shift;
    shift += 7;
    if (byte >= 128) continue;
    yield value;
    value = 0;
    shift = 0;
  }
}

const TABLE = '../models/words/imagenet-words.json';
/** ImageNet's classes; some models have one more, of what is none of them, in front. */
const CLASSES = 1_000;
const NAMED = 5;

let table: Promise<ReadonlyMap<string, string>> | undefined;

export class ClassifierWords {
  readonly #table: ReadonlyMap<string, string>;
  readonly #classes: ClassRows;

  private constructor(words: ReadonlyMap<string, string>, classes: ClassRows) {
    this.#table = words;
    this.#classes = classes;
  }

  /** Reads the classifier of a model of ImageNet's classes; undefined when it has none. */
  static async load(file: string): Promise<ClassifierWords | undefined> {
    const classes = await readClassRows(file, [CLASSES, CLASSES + 1]).catch(() => undefined);
    if (classes === undefined) return undefined;
    table ??= readTable();
    return new ClassifierWords(await table, centred(classes));
  }

  /**
   * The vectors of a noun, one for each class that it stands for, each of length 1.
   *
   * @throws WordUnknownError When the table does not have it; it names near ones.
   */
  vectorsOf(text: string): Float32Array[] {
    const word = this.#known(text);
    if (word === undefined) throw new WordUnknownError(this.#unknown(text));
    const { rows, classes, dimension } = this.#classes;
    const first = classes - CLASSES - 1;
    return [...numbersOf(this.#table.get(word) as string)].map((number) => {
      const from = (first + number) * dimension;
      return rows.slice(from, from + dimension);
    });
  }

  /** A word of the table for what was typed: in any case, with an article, in the plural. */
  #known(text: string): string | undefined {
    return formsOf(text).find((form) => this.#table.has(form));
  }

  #unknown(text: string): string {
    const start = `Cannot embed text: '${text}' is no word of this model, which knows nouns and no sentences`;
    const words = formsOf(text)[0]?.split(' ') ?? [];
    const parts = words.map((word) => this.#known(word)).filter((word) => word !== undefined);
    if (words.length > 1 && parts.length > 0) return `${start}; known of it: ${parts.join(', ')}`;
    const near = this.#near(formsOf(text)[0] ?? text);
    return near.length === 0 ? start : `${start}; near ones: ${near.join(', ')}`;
  }

  /** One that is spelt nearly so, then words that have this one in them; else those that begin most alike. */
  #near(word: string): string[] {
    const known = [...this.#table.keys()];
    const spelt = nearestName(word, known);
    const having = known.filter((each) => each.split(/[ -]/).includes(word));
    const near = [...new Set([...(spelt === undefined ? [] : [spelt]), ...having])];
    return (near.length > 0 ? near : alike(word, known)).slice(0, NAMED);
  }
}

/** Words with the longest beginning in common, of three letters at least. */
function alike(word: string, known: readonly string[]): string[] {
  for (let length = word.length - 1; length >= 3; length--) {
    const found = known.filter((each) => each.startsWith(word.slice(0, length)));
    if (found.length > 0) return found;
  }
  return [];
}

/** What a word may be called in the table, the likeliest first. */
function formsOf(text: string): string[] {
  const plain = text
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .trim()
    // As CLIP is asked.
    .replace(/^((an?|the) )?(photo|photograph|picture|image)s? of (?=.)/, '')
    .replace(/^(a|an|the|some) (?=.)/, '');
  const singular = IRREGULAR[plain.split(' ').at(-1) as string];
  return [
    plain,
    ...(singular === undefined ? [] : [plain.replace(/\S+$/, singular)]),
    plain.replace(/ies$/, 'y'),
    plain.replace(/ves$/, 'f'),
    plain.replace(/ves$/, 'fe'),
    plain.replace(/s$/, ''),
    plain.replace(/es$/, ''),
  ];
}

/** Plurals that no rule makes, of words that the table has. */
const IRREGULAR: Readonly<Record<string, string>> = {
  people: 'person',
  men: 'man',
  women: 'woman',
  mice: 'mouse',
  geese: 'goose',
  children: 'child',
  teeth: 'tooth',
  oxen: 'ox',
};

/** Rows without what all of them have in common, at length 1: what is left is what tells a class from the others. */
function centred({ rows, classes, dimension }: ClassRows): ClassRows {
  const first = classes - CLASSES;
  const mean = new Float64Array(dimension);
  for (let row = first; row < classes; row++) {
    for (let at = 0; at < dimension; at++)
      mean[at] = (mean[at] as number) + (rows[row * dimension + at] as number) / CLASSES;
  }
  const result = new Float32Array(rows.length);
  for (let row = first; row < classes; row++) {
    const from = row * dimension;
    for (let at = 0; at < dimension; at++) result[from + at] = (rows[from + at] as number) - (mean[at] as number);
    normalizeInPlace(result.subarray(from, from + dimension));
  }
  return { rows: result, classes, dimension };
}

/** The numbers in `3-5,9`. */
function* numbersOf(ranges: string): Generator<number> {
  for (const range of ranges.split(',')) {
    const [first, last = first] = range.split('-').map(Number);
    for (let number = first as number; number <= (last as number); number++) yield number;
  }
}

async function readTable(): Promise<ReadonlyMap<string, string>> {
  const text = await readFile(packageFile(TABLE), 'utf8');
  const { words } = JSON.parse(text) as { readonly words: Readonly<Record<string, string>> };
  return new Map(Object.entries(words));
}
