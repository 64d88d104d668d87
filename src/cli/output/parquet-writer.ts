import type { ByteWriter, ParquetWriter, SchemaElement } from 'hyparquet-writer';
import type { EmbedRecord, RecordWriter } from './record.js';
import { ReplacingFile } from './replacing-file.js';

// A row group is encoded in one go: small ones keep the event loop free and the memory constant.
const ROWS_PER_GROUP = 256;

/** The key of the file's metadata that holds the model, as JSON. */
const MODEL_KEY = 'millrace.model';

const SCHEMA: SchemaElement[] = [
  { name: 'root', num_children: 4 },
  { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'embedding', num_children: 1, converted_type: 'LIST', repetition_type: 'OPTIONAL' },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
  { name: 'error_code', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  { name: 'error_message', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
];

/** Writes records as Parquet: `path`, `embedding` (a list of floats), `error_code`, `error_message`, null if absent. The metadata names the model. */
export class ParquetFileWriter implements RecordWriter {
  readonly #file: ReplacingFile;
  readonly #bytes: ByteWriter;
  readonly #parquet: ParquetWriter;
  #rows: EmbedRecord[] = [];
  #isEmpty = true;

  private constructor(file: ReplacingFile, bytes: ByteWriter, parquet: ParquetWriter) {
    this.#file = file;
    this.#bytes = bytes;
    this.#parquet = parquet;
  }

  /** Opens the output. @throws UsageError when it cannot be written. */
  static async open(file: string): Promise<ParquetFileWriter> {
    const { ByteWriter, ParquetWriter } = await import('hyparquet-writer');
    const target = await ReplacingFile.open(file);
    const bytes = new ByteWriter();
    const parquet = new ParquetWriter({ writer: bytes, schema: SCHEMA, createdBy: 'millrace', statistics: false });
    return new ParquetFileWriter(target, bytes, parquet);
  }

  async write(record: EmbedRecord): Promise<void> {
    this.#isEmpty = false;
    if ('embedding' in record && record.model !== undefined) {
      this.#parquet.kvMetadata = [{ key: MODEL_KEY, value: JSON.stringify(record.model) }];
    }
    this.#rows.push(record);
    if (this.#rows.length >= ROWS_PER_GROUP) await this.#flush();
  }

  async close(isWhole = true): Promise<void> {
    if (this.#isEmpty) {
      await this.#file.discard();
      return;
    }
    await this.#flush();
    await this.#parquet.finish();
    await this.#drain();
    await this.#file.commit(isWhole);
  }

  async #flush(): Promise<void> {
    const rows = this.#rows;
    if (rows.length === 0) return;
    this.#rows = [];
    const error = (record: EmbedRecord, key: 'code' | 'message'): string | null =>
      'error' in record ? record.error[key] : null;
    await this.#parquet.write({
      columnData: [
        { name: 'path', data: rows.map((record) => record.path) },
        {
          name: 'embedding',
          data: rows.map((record) => ('embedding' in record ? Array.from(record.embedding) : null)),
        },
        { name: 'error_code', data: rows.map((record) => error(record, 'code')) },
        { name: 'error_message', data: rows.map((record) => error(record, 'message')) },
      ],
      rowGroupSize: rows.length,
    });
    await this.#drain();
  }

  // ByteWriter keeps its offset apart from its buffer, so the buffer can be emptied.
  async #drain(): Promise<void> {
    await this.#file.append(this.#bytes.getBytes());
    this.#bytes.index = 0;
  }
}
