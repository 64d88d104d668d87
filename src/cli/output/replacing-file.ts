import { type FileHandle, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { errorCode, errorMessage, RunError, UsageError } from '../errors.js';

/**
 * A file that replaces another when it is complete, for formats that can't be read before their end is written. Until then it is
 * `<name>.partial`, beside the other.
 */
export class ReplacingFile {
  readonly #name: string;
  readonly #partial: string;
  readonly #handle: FileHandle;
  #size = 0;

  private constructor(name: string, partial: string, handle: FileHandle) {
    this.#name = name;
    this.#partial = partial;
    this.#handle = handle;
  }

  /** Opens it. @throws UsageError when it cannot be written. */
  static async open(name: string): Promise<ReplacingFile> {
    const target = await linkTarget(name);
    const partial = await ReplacingFile.partialOf(name);
    const found = await stat(name).catch(() => undefined);
    if (found?.isDirectory()) throw new UsageError(`Cannot write ${name}: it is a folder`);
    const handle = await openBeside(name, partial);
    return new ReplacingFile(target, partial, handle);
  }

  /** The name of the incomplete file. For a link it is beside the link's target, on the same file system. */
  static async partialOf(name: string): Promise<string> {
    return `${await linkTarget(name)}.partial`;
  }

  /** How many bytes were appended. */
  get size(): number {
    return this.#size;
  }

  /** Appends bytes. */
  async append(bytes: Uint8Array): Promise<void> {
    await this.writeAt(bytes, this.#size);
    this.#size += bytes.length;
  }

  /** Overwrites bytes. */
  async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let offset = 0; offset < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, offset, bytes.length - offset, position + offset);
        offset += bytesWritten;
      }
    } catch (error) {
      throw new RunError(`Cannot write ${this.#name}: ${errorMessage(error)}`, { cause: error });
    }
  }

  /** Replaces the other file; one that is not whole stays beside it. */
  async commit(isWhole = true): Promise<void> {
    try {
      await this.#handle.datasync();
      await this.#handle.close();
      if (isWhole) await rename(this.#partial, this.#name);
    } catch (error) {
      throw new RunError(`Cannot write ${this.#name}: ${errorMessage(error)}`, { cause: error });
    }
  }

  /** Deletes it. */
  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(this.#partial, { force: true });
  }
}

/**
 * Opens a new file beside an output, or empties the one of an earlier run.
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

/** The error of an output that cannot be written: the reason in words, or the system's own. */
export function cannotWrite(file: string, error: unknown): UsageError {
  const folder = path.dirname(file);
  const reasons: Record<string, string> = {
    ENOENT: `its folder does not exist: ${folder}`,
    ENOTDIR: `its folder is a file: ${folder}`,
    EISDIR: 'it is a folder',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
  };
  const reason = reasons[errorCode(error)];
  if (reason !== undefined) return new UsageError(`Cannot write ${file}: ${reason}`);
  return new UsageError(`Cannot write ${file}: ${errorMessage(error)}`, { cause: error });
}

/** As many links as Linux follows. */
const MAX_LINKS = 40;

/** Resolves links, also to a file that does not exist yet. */
export async function linkTarget(name: string): Promise<string> {
  let target = path.resolve(name);
  for (let count = 0; count < MAX_LINKS; count += 1) {
    const real = await realpath(target).catch(() => undefined);
    if (real !== undefined) return real;
    const link = await readlink(target).catch(() => undefined);
    if (link === undefined) return target;
    target = path.resolve(path.dirname(target), link);
  }
  return path.resolve(name);
}
