import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

/** How a graph names a file that it keeps weights in: the entry `location` of a tensor's `external_data`, and the length of the name. */
const LOCATION = Buffer.from('\n\u0008location\u0012');
const MAX_NAME_BYTES = 4_096;
const MAX_ENTRY_BYTES = LOCATION.length + 2 + MAX_NAME_BYTES;

/** Finds the files that a graph keeps weights in, from its bytes as they are read: protobuf is not parsed for it, a graph may have 2 GB. */
export class ExternalWeights {
  readonly #names = new Set<string>();
  #tail: Buffer = Buffer.alloc(0);

  /** Takes the next bytes of the graph. */
  add(chunk: Buffer): void {
    const bytes = Buffer.concat([this.#tail, chunk]);
    for (let at = bytes.indexOf(LOCATION); at >= 0; at = bytes.indexOf(LOCATION, at + 1)) this.#take(bytes, at);
    this.#tail = bytes.subarray(Math.max(0, bytes.length - MAX_ENTRY_BYTES));
  }

  /** Their names as the graph has them, relative to its folder. */
  get names(): string[] {
    return [...this.#names].sort();
  }

  #take(bytes: Buffer, at: number): void {
    const start = at + LOCATION.length;
    const [low = 0, high = 0] = bytes.subarray(start, start + 2);
    const isLong = low >= 0x80;
    const from = start + (isLong ? 2 : 1);
    const end = from + (isLong ? (low & 0x7f) + 128 * high : low);
    // A name that is cut off here is whole in the next piece.
    if (end <= bytes.length && end - from <= MAX_NAME_BYTES) this.#names.add(bytes.toString('utf8', from, end));
  }
}

/** A graph of this size holds its weights itself: one that does not has some megabytes at most. */
const LARGE_GRAPH_BYTES = 16_000_000;

/** The files beside a graph that it keeps weights in; none where it can't be read. */
export async function weightFiles(graph: string): Promise<string[]> {
  const size = await sizeOf(graph);
  if (size === 0 || size >= LARGE_GRAPH_BYTES) return [];
  const weights = new ExternalWeights();
  weights.add(await readFile(graph).catch(() => Buffer.alloc(0)));
  return weights.names.map((name) => path.resolve(path.dirname(graph), name));
}

/** How many bytes a model has, in its graph and the files that the graph keeps weights in; what can't be read counts nothing. */
export async function modelBytes(graph: string): Promise<number> {
  const sizes = await Promise.all([graph, ...(await weightFiles(graph))].map(sizeOf));
  return sizes.reduce((sum, each) => sum + each, 0);
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    (info) => (info.isFile() ? info.size : 0),
    () => 0,
  );
}

/** Whether a text begins as what Git has in the place of a large file that was not brought along. */
export function isLfsPointer(text: string): boolean {
  return text.startsWith('version https://git-lfs');
}
