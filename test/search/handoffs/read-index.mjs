/** Reads an index as any program can: a NumPy array, lines of JSON, and a manifest that says which rows count. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';

/** The pictures of an index, each with its path and its vector of length 1. */
export async function readIndex(folder) {
  const { rows, dimension, gone, failed } = JSON.parse(await readFile(path.join(folder, 'index.json'), 'utf8'));
  const array = await readFile(path.join(folder, 'vectors.npy'));
  const numbers = new Float32Array(rows * dimension);
  // The header says how long it is, at byte 8.
  const start = 10 + array.readUInt16LE(8);
  new Uint8Array(numbers.buffer).set(array.subarray(start, start + numbers.byteLength));
  const lines = (await readFile(path.join(folder, 'items.jsonl'), 'utf8')).split('\n');
  const hidden = new Set([...gone, ...failed]);
  return Array.from({ length: rows }, (_, row) => row)
    .filter((row) => !hidden.has(row))
    .map((row) => ({
      path: JSON.parse(lines[row]).path,
      vector: numbers.subarray(row * dimension, (row + 1) * dimension),
    }));
}

/** The arguments of a script: where the index is, where it may write, and what to search for. */
export function argumentsOf() {
  const [, , source, scratch, query] = process.argv;
  return { source, scratch, query: Float32Array.from(JSON.parse(query)) };
}

/** Prints what was found: the best five, as `[path, cosine]`. */
export function print(hits) {
  process.stdout.write(JSON.stringify(hits));
}
