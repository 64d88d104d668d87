import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { errorCode, errorMessage, OutputTakenError, RunError, UsageError } from '../exit-codes.js';
import { type EmbedRecord, formatRecord, type RecordWriter } from './record.js';

/**
 * Appends records to a file, one line each. A line is handed to the system whole, so that whatever ends the process leaves whole lines and at
 * most one torn one, which a resumed run takes away. A file that exists is emptied by the first record, not before: a run that cannot start
 * costs nothing. A file that another process writes meanwhile is left to it.
 */
export class JsonlFileWriter implements RecordWriter {
  readonly #file: string;
  readonly #handle: FileHandle;
  #size: number;
  #isFresh: boolean;
  #isRegular: boolean | undefined;

  private constructor(file: string, handle: FileHandle, keep: number | undefined) {
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
    const handle = await openOutput(file);
    if (keep !== undefined) await handle.truncate(keep);
    return new JsonlFileWriter(file, handle, keep);
  }

  async write(record: EmbedRecord): Promise<void> {
    const line = Buffer.from(`${formatRecord(record)}\n`);
    await this.#start();
    try {
      for (let offset = 0; offset < line.length; ) {
        const { bytesWritten } = await this.#handle.write(line, offset, line.length - offset, this.#size + offset);
        offset += bytesWritten;
      }
    } catch (error) {
      // A full disk may have taken half a line.
      await this.#handle.truncate(this.#size).catch(() => {});
      throw new RunError(`Cannot write ${this.#file}: ${errorMessage(error)}`, { cause: error });
    }
    this.#size += line.length;
  }

  async close(): Promise<void> {
    try {
      await this.#handle.datasync();
    } catch {
      // Pipes and some network file systems have nothing to synchronise.
    } finally {
      await this.#handle.close();
    }
  }

  // Where two runs write one file, the one that began first finds it changed, and ends: lines of both, one over the other, would be neither's.
  async #start(): Promise<void> {
    if (this.#isRegular === false) return;
    const found = await this.#handle.stat();
    this.#isRegular = found.isFile();
    if (!this.#isRegular) return;
    if (this.#isFresh) await this.#handle.truncate(0);
    else if (found.size !== this.#size) {
      throw new OutputTakenError(`Cannot write ${this.#file}: another process has written to it meanwhile`);
    }
    this.#isFresh = false;
  }
}

/**
 * Opens an output file for writing without emptying it.
 *
 * @throws UsageError when its folder is missing, it is a folder itself, or it may not be written.
 */
export async function openOutput(file: string): Promise<FileHandle> {
  try {
    return await openReadWrite(file);
  } catch (error) {
    const folder = path.dirname(file);
    const reasons: Record<string, string> = {
      ENOENT: `its folder does not exist: ${folder}`,
      ENOTDIR: `its folder is a file: ${folder}`,
      EISDIR: 'it is a folder',
      EACCES: 'permission denied',
      EPERM: 'permission denied',
      EROFS: 'the file system is read-only',
    };
    throw new UsageError(`Cannot write ${file}: ${reasons[errorCode(error)] ?? errorMessage(error)}`, { cause: error });
  }
}

async function openReadWrite(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r+');
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return await open(file, 'wx+');
  }
}
