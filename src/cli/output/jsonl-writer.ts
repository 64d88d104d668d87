import { constants } from 'node:fs';
import { access, type FileHandle, open, stat } from 'node:fs/promises';
import path from 'node:path';
import { ClosedPipeError, errorCode, errorMessage, OutputTakenError, RunError, UsageError } from '../exit-codes.js';
import { type EmbedRecord, formatRecord, type RecordWriter } from './record.js';

/**
 * Appends records to a file, one line each. A line is handed to the system whole, so that whatever ends the process leaves whole lines and at
 * most one torn one, which a resumed run takes away. A file is made, or one that exists emptied, by the first record and not before: a run that
 * cannot start costs nothing. A file that another process writes meanwhile is left to it.
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
        throw new ClosedPipeError('the reader of the output has gone', { cause: error });
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

  // Should another process write the file all the same, the one that began first finds it changed, and ends: lines of both, one over the other,
  // would be neither's.
  async #start(): Promise<FileHandle> {
    this.#handle ??= await createOutput(this.#file);
    const handle = this.#handle;
    if (this.#isRegular === false) return handle;
    const found = await handle.stat();
    this.#isRegular = found.isFile();
    if (!this.#isRegular) return handle;
    if (this.#isFresh) await handle.truncate(0);
    else if (found.size !== this.#size) {
      throw new OutputTakenError(`Cannot write ${this.#file}: another process has written to it meanwhile`);
    }
    this.#isFresh = false;
    return handle;
  }
}

/** Opens an output that is there; undefined when it has to be made, and can be. @throws UsageError when it cannot be written. */
async function openExisting(file: string): Promise<FileHandle | undefined> {
  try {
    // A pipe that is open for reading, too, would never tell that its reader has gone.
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
    // A link whose file is still to be made.
    if (isMade === undefined) return await openBeside(file, file);
    throw new OutputTakenError(`Cannot write ${file}: another process has made it meanwhile`, { cause: error });
  }
}

/**
 * Opens a new file beside an output, emptying what an earlier run has left there.
 *
 * @throws UsageError when the output cannot be written.
 */
export async function openBeside(output: string, file: string): Promise<FileHandle> {
  try {
    return await open(file, 'w+');
  } catch (error) {
    throw cannotWrite(output, error);
  }
}

function cannotWrite(file: string, error: unknown): UsageError {
  const folder = path.dirname(file);
  const reasons: Record<string, string> = {
    ENOENT: `its folder does not exist: ${folder}`,
    ENOTDIR: `its folder is a file: ${folder}`,
    EISDIR: 'it is a folder',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
  };
  return new UsageError(`Cannot write ${file}: ${reasons[errorCode(error)] ?? errorMessage(error)}`, { cause: error });
}
