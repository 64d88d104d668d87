import path from 'node:path';
import type { Writable } from 'node:stream';
import { UsageError } from '../errors.js';
import { JsonlFileWriter, JsonlStreamWriter } from './jsonl-writer.js';
import type { RecordWriter } from './record.js';

/** The format of an output. */
export type OutputFormat = 'jsonl' | 'npy' | 'parquet';

const FORMATS: ReadonlyMap<string, OutputFormat> = new Map<string, OutputFormat>([
  ['', 'jsonl'],
  ['.json', 'jsonl'],
  ['.jsonl', 'jsonl'],
  ['.ndjson', 'jsonl'],
  ['.txt', 'jsonl'],
  ['.npy', 'npy'],
  ['.parquet', 'parquet'],
]);

/**
 * The format of an output, by its ending.
 *
 * @throws UsageError when it is none of those that can be written.
 */
export function outputFormat(out: string): OutputFormat {
  if (out === '-') return 'jsonl';
  if (out === '') throw new UsageError("Cannot write: the name of the output is empty; '-' is standard output");
  const ending = path.extname(out).toLowerCase();
  const format = FORMATS.get(ending);
  if (format !== undefined) return format;
  throw new UsageError(`Cannot write ${out}: the ending must be .jsonl, .npy or .parquet, received '${ending}'`);
}

/**
 * Opens an output in the format of its ending.
 *
 * @param out A file, or `-` for `stdout`.
 * @param stdout Where `-` goes.
 * @param keep How many bytes of an existing file of lines stay; by default none.
 * @throws UsageError when it cannot be written.
 */
export async function openWriter(out: string, stdout: Writable, keep?: number): Promise<RecordWriter> {
  if (out === '-') return new JsonlStreamWriter(stdout);
  switch (outputFormat(out)) {
    case 'jsonl':
      return await JsonlFileWriter.open(out, keep);
    case 'npy': {
      const { NpyWriter } = await import('./npy-writer.js');
      return await NpyWriter.open(out);
    }
    case 'parquet': {
      const { ParquetFileWriter } = await import('./parquet-writer.js');
      return await ParquetFileWriter.open(out);
    }
  }
}
