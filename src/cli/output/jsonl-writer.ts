import { constants } from 'node:fs';
import { access, type FileHandle, open, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { ClosedPipeError, errorCode, errorMessage, OutputTakenError, RunError } from '../errors.js';
import { type EmbedRecord, formatRecord, type RecordWriter } from './record.js';
import { cannotWrite, openBeside } from './replacing-file.js';

/**
 * Appends records to a file, one line each.
 *
 * Invariants:
 * - A line is written in one call, so a process that is killed leaves whole lines and at most one torn line, which `--resume` removes.
 * - The first record creates or empties the file: a run that cannot start changes nothing.
 * - A file that another process changes during the run is not written again.
 */
export class JsonlFileWriter implements RecordWriter {
  readonly #file: string;
  #handle: FileHandle | undefined;
  #size: number;
  #isFresh: boolean;
  #isRegular: boolean | undefined;

  private constructor(file: string, handle: FileHandle | undefined, keep: number | undefined) {
    this.#file = file;
    this.#handle = handle;
    this.#size = keep ?? 0;
    this.#isFresh = keep === undefined;
  }

  /**
   * Opens the output.
   *
   * @param file Where to write.
   * @param keep How many bytes of what the file holds stay; by default none.
   * @throws UsageError when it cannot be written.
   */
  static async open(file: string, keep?: number): Promise<JsonlFileWriter> {
    const handle = await openExisting(file);
    if (keep !== undefined) await handle?.truncate(keep);
    return new JsonlFileWriter(file, handle, keep);
  }

  async write(record: EmbedRecord): Promise<void> {
    const line = Buffer.from(`${formatRecord(record)}\n`);
    const handle = await this.#start();
    try {
      for (let offset = 0; offset < line.length; ) {
        // A pipe has no positions.
        const position = this.#isRegular ? this.#size + offset : null;
        const { bytesWritten } = await handle.write(line, offset, line.length - offset, position);
        offset += bytesWritten;
      }
    } catch (error) {
      // A full disk may have taken half a line.
      await handle.truncate(this.#size).catch(() => {});
      if (errorCode(error) === 'EPIPE')
        throw new ClosedPipeError('the reader of the output has closed it', { cause: error });
      throw new RunError(`Cannot write ${this.#file}: ${errorMessage(error)}`, { cause: error });
    }
    this.#size += line.length;
  }

  async close(): Promise<void> {
    try {
      await this.#handle?.datasync();
    } catch {
      // Pipes and some network file systems have nothing to synchronise.
    } finally {
      await this.#handle?.close();
    }
  }

  /** The open file. Its size is compared once, since lines of two processes would overwrite each other. */
  async #start(): Promise<FileHandle> {
    this.#handle ??= await createOutput(this.#file);
    const handle = this.#handle;
    if (this.#isRegular === false) return handle;
    const found = await handle.stat();
    this.#isRegular = found.isFile();
    if (!this.#isRegular) return handle;
    if (this.#isFresh) await handle.truncate(0);
    else if (found.size !== this.#size) {
      throw new OutputTakenError(`Cannot write ${this.#file}: another process has written to it since this run began`);
    }
    this.#isFresh = false;
    return handle;
  }
}

/** Opens an existing output; undefined when it is still to be created, and can be. @throws UsageError when it cannot be written. */
async function openExisting(file: string): Promise<FileHandle | undefined> {
  try {
    // A pipe opened for reading as well would never fail with EPIPE.
    const isRegular = (await stat(file)).isFile();
    return await open(file, isRegular ? 'r+' : 'w');
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw cannotWrite(file, error);
  }
  try {
    await access(path.dirname(file), constants.W_OK);
    return undefined;
  } catch (error) {
    throw cannotWrite(file, error);
  }
}

async function createOutput(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx+');
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw cannotWrite(file, error);
    const isMade = await stat(file).catch(() => undefined);
    // A link whose target does not exist.
    if (isMade === undefined) return await openBeside(file, file);
    throw new OutputTakenError(`Cannot write ${file}: another process has created it since this run began`, {
      cause: error,
    });
  }
}

/** Writes records to a stream as lines of JSON, for `--out -`. Waits for a slow reader. */
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
    // Standard output stays open, and so does the listener: an error may come after the last write.
  }
}

function closedPipe(error: Error): Error {
  return errorCode(error) === 'EPIPE' || errorCode(error) === 'ERR_STREAM_DESTROYED'
    ? new ClosedPipeError('the reader of the output has closed it', { cause: error })
    : new RunError(`Cannot write to standard output: ${errorMessage(error)}`, { cause: error });
}
