import { type FileHandle, rename, rm, stat } from 'node:fs/promises';
import { errorMessage, RunError, UsageError } from '../exit-codes.js';
import { openBeside } from './jsonl-writer.js';
import { linkTarget } from './link-target.js';

/**
 * A file that takes the place of another when it is complete: for formats that can't be read before their end is written. Until then it lies
 * beside the other, as `<name>.partial`.
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

  /** Where an incomplete one lies: beside the file itself, on the same file system, when the name is that of a link. */
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

  /** Writes bytes over what is there. */
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

  /** Puts it in place, or leaves it beside the other when it is not whole. */
  async commit(isWhole = true): Promise<void> {
    try {
      await this.#handle.datasync();
      await this.#handle.close();
      if (isWhole) await rename(this.#partial, this.#name);
    } catch (error) {
      throw new RunError(`Cannot write ${this.#name}: ${errorMessage(error)}`, { cause: error });
    }
  }

  /** Takes it away again. */
  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(this.#partial, { force: true });
  }
}
