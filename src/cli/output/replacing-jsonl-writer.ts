import { type EmbedRecord, formatRecord, type RecordWriter } from './record.js';
import { ReplacingFile } from './replacing-file.js';

const CHUNK_BYTES = 1 << 20;

/** Writes records as lines of JSON into a file that replaces the old one when it is complete: what is killed before leaves the old one. */
export class ReplacingJsonlWriter implements RecordWriter {
  readonly #file: ReplacingFile;
  #lines: Buffer[] = [];
  #bytes = 0;

  private constructor(file: ReplacingFile) {
    this.#file = file;
  }

  /** Opens the output. @throws UsageError when it cannot be written. */
  static async open(file: string): Promise<ReplacingJsonlWriter> {
    return new ReplacingJsonlWriter(await ReplacingFile.open(file));
  }

  async write(record: EmbedRecord): Promise<void> {
    const line = Buffer.from(`${formatRecord(record)}\n`);
    this.#lines.push(line);
    this.#bytes += line.length;
    if (this.#bytes >= CHUNK_BYTES) await this.#flush();
  }

  async close(isWhole = true): Promise<void> {
    await this.#flush();
    await this.#file.commit(isWhole);
  }

  async #flush(): Promise<void> {
    const lines = Buffer.concat(this.#lines);
    this.#lines = [];
    this.#bytes = 0;
    if (lines.length > 0) await this.#file.append(lines);
  }
}
