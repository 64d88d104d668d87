/** Reads what `millrace embed` has written, to be searched as it is: lines of JSON, a NumPy array with lines beside it, or Parquet. */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import path from 'node:path';
import type { ModelIdentity } from '../image-embedding/index.js';
import { builtInNames, isEscapedPath, normalizeInPlace } from '../image-embedding/internal.js';
import { readLayout } from './index-files.js';
import type { IndexItem, ItemError } from './item.js';
import type { IndexModelSource, Manifest } from './manifest.js';
import { describeModel, isSameModel } from './model-of-index.js';
import { FileRows } from './row-source.js';
import { IndexCorruptError, IndexModelError, IndexNotFoundError } from './search-errors.js';

/** An output in memory. */
export interface EmbedOutput {
  readonly manifest: Manifest;
  readonly items: readonly IndexItem[];
  /** Rows of length 1, zeros for what failed. */
  readonly vectors: Float32Array;
}

/** One record, whatever format it is of. */
interface OutputRecord {
  readonly path: string;
  readonly vector?: Float32Array | undefined;
  readonly error?: ItemError | undefined;
  readonly model?: ModelIdentity | undefined;
}

const READERS: Readonly<Record<string, (file: string) => AsyncGenerator<OutputRecord, void>>> = {
  '.jsonl': readLines,
  '.json': readLines,
  '.ndjson': readLines,
  '.txt': readLines,
  '.npy': readNpy,
  '.parquet': readParquet,
};

/** Whether a name is that of an output, by its ending. */
export function isEmbedOutput(file: string): boolean {
  return Object.hasOwn(READERS, path.extname(file).toLowerCase());
}

/**
 * Reads an output. Relative paths in it are meant from the working folder, as they were when it was written.
 *
 * @throws IndexNotFoundError, IndexCorruptError; IndexModelError when it has vectors of several models.
 */
export async function readEmbedOutput(file: string): Promise<EmbedOutput> {
  const action = `Cannot open ${file}`;
  const read = READERS[path.extname(file).toLowerCase()];
  if (read === undefined) throw new IndexCorruptError(`${action}: it is no index, and no output of millrace embed`);
  const found = await stat(file).catch(() => undefined);
  if (found === undefined) throw new IndexNotFoundError(`${action}: there is none`);
  const collected = new Collected(action);
  for await (const record of read(file)) collected.take(record);
  return collected.output();
}

class Collected {
  readonly #action: string;
  readonly #items: IndexItem[] = [];
  readonly #vectors: (Float32Array | undefined)[] = [];
  readonly #rows = new Map<string, number>();
  readonly #gone: number[] = [];
  #dimension: number | undefined;
  #model: ModelIdentity | undefined;

  constructor(action: string) {
    this.#action = action;
  }

  take({ path: name, vector, error, model }: OutputRecord): void {
    if (vector !== undefined) {
      this.#dimension ??= vector.length;
      if (vector.length !== this.#dimension) {
        throw new IndexCorruptError(
          `${this.#action}: it has vectors of ${this.#dimension} and of ${vector.length} numbers`,
        );
      }
      if (model !== undefined && this.#model !== undefined && !isSameModel(model, this.#model)) {
        throw new IndexModelError(
          `${this.#action}: it has vectors of ${describeModel(this.#model)} and of ${describeModel(model)}`,
        );
      }
      this.#model ??= model;
    }
    const file = /^https?:\/\//i.test(name) || isEscapedPath(name) ? name : path.resolve(name);
    const before = this.#rows.get(file);
    // Of two records of one picture the later one counts.
    if (before !== undefined) this.#gone.push(before);
    this.#rows.set(file, this.#items.length);
    const isFit = vector?.every(Number.isFinite) && vector.some((each) => each !== 0);
    const missing = error ?? { code: 'ERR_UNKNOWN', message: 'it has no vector' };
    this.#items.push(isFit ? { path: file } : { path: file, error: missing });
    this.#vectors.push(isFit ? vector : undefined);
  }

  output(): EmbedOutput {
    const rows = this.#items.length;
    const dimension = this.#dimension;
    if (dimension === undefined) throw new IndexCorruptError(`${this.#action}: it has no vectors`);
    const vectors = new Float32Array(rows * dimension);
    for (const [row, vector] of this.#vectors.entries()) {
      if (vector !== undefined) vectors.set(normalizeInPlace(vector), row * dimension);
    }
    const model = this.#model;
    const source = model === undefined ? undefined : sourceOf(model);
    const manifest: Manifest = {
      format: 'millrace-index',
      version: 1,
      ...(model === undefined ? {} : { model }),
      ...(source === undefined ? {} : { source }),
      dimension,
      rows,
      itemBytes: 0,
      gone: this.#gone.sort((a, b) => a - b),
      failed: this.#vectors.flatMap((vector, row) => (vector === undefined ? [row] : [])),
      generation: 1,
    };
    return { manifest, items: this.#items, vectors };
  }
}

/** How a model is named that an output has: one of the hub, or the built-in one. Where a model's folder was is not written down. */
function sourceOf({ name, dtype, revision }: ModelIdentity): IndexModelSource | undefined {
  if (builtInNames.includes(name) || !name.includes('/')) return undefined;
  return { from: name, ...(dtype === undefined ? {} : { dtype }), ...(revision === undefined ? {} : { revision }) };
}

async function* readLines(file: string): AsyncGenerator<OutputRecord, void> {
  for await (const { value, number } of linesOf(file)) {
    const { path: name, embedding, error, model } = value;
    if (typeof name !== 'string' || (embedding === undefined && error === undefined)) throw notOurs(file, number);
    const vector = Array.isArray(embedding) ? Float32Array.from(embedding as number[]) : undefined;
    yield { path: name, vector, error: error as ItemError | undefined, model: model as ModelIdentity | undefined };
  }
}

async function* readNpy(file: string): AsyncGenerator<OutputRecord, void> {
  const handle: FileHandle = await open(file, 'r');
  try {
    const layout = await readLayout(handle);
    if (layout === undefined) throw new IndexCorruptError(`Cannot open ${file}: it is no matrix of float32 or float16`);
    const rows = new FileRows(handle, layout);
    let row = 0;
    for await (const { value, number } of linesOf(`${file}.jsonl`)) {
      if (row === layout.rows) break;
      const { path: name, error, model } = value;
      if (typeof name !== 'string') throw notOurs(`${file}.jsonl`, number);
      const vector = new Float32Array(layout.columns);
      await rows.readInto(row++, vector);
      yield { path: name, vector, error: error as ItemError | undefined, model: model as ModelIdentity | undefined };
    }
    if (row < layout.rows) {
      throw new IndexCorruptError(`Cannot open ${file}: it has ${layout.rows} rows, and ${file}.jsonl ${row} lines`);
    }
  } finally {
    await handle.close();
  }
}

/** The key of the metadata that the writer of Parquet puts the model under. */
const MODEL_KEY = 'millrace.model';

async function* readParquet(file: string): AsyncGenerator<OutputRecord, void> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import('hyparquet');
  const action = `Cannot open ${file}`;
  try {
    const source = await asyncBufferFromFile(file);
    const metadata = await parquetMetadataAsync(source);
    const named = metadata.key_value_metadata?.find(({ key }) => key === MODEL_KEY)?.value;
    const model = named === undefined ? undefined : (JSON.parse(named) as ModelIdentity);
    let first = 0;
    for (const group of metadata.row_groups) {
      const end = first + Number(group.num_rows);
      const rows = await parquetReadObjects({ file: source, metadata, rowStart: first, rowEnd: end });
      for (const { path: name, embedding, error_code: code, error_message: message } of rows) {
        if (typeof name !== 'string') throw new Error("it has no column 'path' of text");
        const vector = embedding == null ? undefined : Float32Array.from(embedding as ArrayLike<number>);
        const error = typeof code === 'string' ? { code, message: String(message) } : undefined;
        yield { path: name, vector, error, model };
      }
      first = end;
    }
  } catch (cause) {
    if (cause instanceof IndexCorruptError) throw cause;
    throw new IndexCorruptError(`${action}: it is no Parquet file of millrace embed (${(cause as Error).message})`, {
      cause,
    });
  }
}

interface Line {
  readonly value: Readonly<Record<string, unknown>>;
  readonly number: number;
}

const NEWLINE = 10;

/** The whole lines of a file, parsed. A last one without its end is passed over: it may be written right now. */
async function* linesOf(file: string): AsyncGenerator<Line, void> {
  let rest: Buffer[] = [];
  let number = 0;
  const chunks = createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>;
  try {
    for await (const chunk of chunks) {
      let from = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        const text = Buffer.concat([...rest, chunk.subarray(from, end)]).toString('utf8');
        rest = [];
        from = end + 1;
        yield { value: parse(file, text, ++number), number };
      }
      if (from < chunk.length) rest.push(chunk.subarray(from));
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new IndexCorruptError(`Cannot open ${file}: there is none`, { cause });
  }
}

function parse(file: string, text: string, number: number): Line['value'] {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Line['value'];
  } catch {
    // Below.
  }
  throw notOurs(file, number);
}

function notOurs(file: string, number: number): IndexCorruptError {
  return new IndexCorruptError(`Cannot open ${file}: line ${number} is no record of millrace embed`);
}
