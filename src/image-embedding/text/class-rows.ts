/** The weights of a classifier, out of its ONNX file: a row for each class, in the space of the model's embeddings. */
import { readFile } from 'node:fs/promises';

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
