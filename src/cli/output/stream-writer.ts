import type { Writable } from 'node:stream';
import { ClosedPipeError, errorCode, errorMessage, RunError } from '../exit-codes.js';
import { type EmbedRecord, formatRecord, type RecordWriter } from './record.js';

/** Writes records to a stream, as lines of JSON: for `--out -`. Waits where the reader is slow; ends quietly where it has gone. */
export class JsonlStreamWriter implements RecordWriter {
  readonly #stream: Writable;
  #failure: Error | undefined;
  readonly #onError = (error: Error): void => {
    this.#failure = error;
  };

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', this.#onError);
  }

  write(record: EmbedRecord): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(closedPipe(this.#failure));
        return;
      }
      this.#stream.write(`${formatRecord(record)}\n`, (error) => {
        if (error) reject(closedPipe(error));
        else resolve();
      });
    });
  }

  async close(): Promise<void> {
    // Standard output is not ours to end. The listener stays: an error may come after the last write.
  }
}

function closedPipe(error: Error): Error {
  return errorCode(error) === 'EPIPE' || errorCode(error) === 'ERR_STREAM_DESTROYED'
    ? new ClosedPipeError('the reader of the output has gone', { cause: error })
    : new RunError(`Cannot write to standard output: ${errorMessage(error)}`, { cause: error });
}
