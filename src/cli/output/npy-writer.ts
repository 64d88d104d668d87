import { endianness } from 'node:os';
import { RunError } from '../errors.js';
import { type EmbedRecord, type RecordWriter, toJsonLine } from './record.js';
import { ReplacingFile } from './replacing-file.js';

const HEADER_BYTES = 128;

/**
 * Writes embeddings as one NumPy array `[inputs, dimension]` of float32. Row i is input i; a failed input's row is NaN. The paths, the model
 * and the errors go to `<name>.jsonl`, one line per row.
 */
export class NpyWriter implements RecordWriter {
  readonly #array: ReplacingFile;
  readonly #index: ReplacingFile;
  #dimension: number | undefined;
  #rows = 0;
  // Rows of NaN to write once the dimension is known.
  #pending = 0;

  private constructor(array: ReplacingFile, index: ReplacingFile) {
    this.#array = array;
    this.#index = index;
  }

  /** Opens the output. @throws UsageError when it cannot be written. */
  static async open(file: string): Promise<NpyWriter> {
    const array = await ReplacingFile.open(file);
    try {
      await array.append(new Uint8Array(HEADER_BYTES));
      return new NpyWriter(array, await ReplacingFile.open(`${file}.jsonl`));
    } catch (error) {
      await array.discard();
      throw error;
    }
  }

  async write(record: EmbedRecord): Promise<void> {
    if ('error' in record) {
      if (this.#dimension === undefined) this.#pending++;
      else await this.#array.append(toBytes(missingRow(this.#dimension)));
    } else {
      if (this.#dimension === undefined) {
        this.#dimension = record.embedding.length;
        for (; this.#pending > 0; this.#pending--) await this.#array.append(toBytes(missingRow(this.#dimension)));
      } else if (record.embedding.length !== this.#dimension) {
        throw new RunError(
          `Cannot write row ${this.#rows}: it has ${record.embedding.length} dimensions, not ${this.#dimension}`,
        );
      }
      await this.#array.append(toBytes(record.embedding));
    }
    const line = 'error' in record ? record : { path: record.path, model: record.model };
    await this.#index.append(Buffer.from(`${toJsonLine(line)}\n`));
    this.#rows++;
  }

  async close(isWhole = true): Promise<void> {
    if (this.#rows === 0) {
      await Promise.all([this.#array.discard(), this.#index.discard()]);
      return;
    }
    await this.#array.writeAt(npyHeader(this.#rows, this.#dimension ?? 0), 0);
    await this.#array.commit(isWhole);
    await this.#index.commit(isWhole);
  }
}

function missingRow(dimension: number): Float32Array {
  return new Float32Array(dimension).fill(Number.NaN);
}

function toBytes(row: Float32Array): Uint8Array {
  return new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
}

/** NumPy's format 1.0: magic, version, length of the header (little-endian), a Python literal padded with spaces to a newline. */
function npyHeader(rows: number, columns: number): Uint8Array {
  const order = endianness() === 'LE' ? '<' : '>';
  const literal = `{'descr': '${order}f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  const header = Buffer.alloc(HEADER_BYTES, ' ');
  header.write('\u0093NUMPY\u0001\u0000', 0, 'latin1');
  header.writeUInt16LE(HEADER_BYTES - 10, 8);
  header.write(literal, 10, 'latin1');
  header.write('\n', HEADER_BYTES - 1, 'latin1');
  return header;
}
