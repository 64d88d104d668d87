import { constants } from 'node:fs';
import { type FileHandle, open, readlink, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { isError, requireString } from '../../core/index.js';
import { decodePath, encodePath, printablePath } from '../file-name.js';
import {
  ImageCorruptError,
  ImageForbiddenError,
  ImageNotFoundError,
  ImageReadError,
  ImageUnsupportedError,
  tooManyBytes,
} from '../image-errors.js';

/** What of the limits concerns a path. */
export interface PathLimits {
  readonly maxBytes: number;
  readonly roots: readonly string[] | undefined;
}

/**
 * Reads a regular file. The checks apply to the handle that is then read, so nothing can be swapped in between; a FIFO does not hang the read,
 * because it is looked at before it is opened, and opened without waiting.
 */
export async function bytesFromPath(input: unknown, limits: PathLimits, signal?: AbortSignal): Promise<Uint8Array> {
  const file = requireString('Cannot read image', 'path', input);
  if (file.includes('\0'))
    throw new ImageNotFoundError(`Cannot read image: no path holds a NUL, received ${quote(file)}`);
  let handle: FileHandle | undefined;
  try {
    const target = limits.roots === undefined ? file : await insideRoots(file, file, limits.roots);
    signal?.throwIfAborted();
    // Opening some devices has effects, so what is plainly no file is not opened at all.
    requireRegular(file, await stat(encodePath(target)));
    const noFollow = limits.roots === undefined ? 0 : (constants.O_NOFOLLOW ?? 0);
    handle = await open(encodePath(target), constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | noFollow);
    const opened = await handle.stat();
    requireRegular(file, opened);
    if (limits.roots !== undefined) await requireSameInsideRoots(file, handle, target, opened, limits.roots);
    signal?.throwIfAborted();
    if (opened.size > limits.maxBytes) throw tooManyBytes(`image ${quote(file)}`, opened.size, limits.maxBytes);
    const bytes = await readAll(file, handle, opened.size, limits.maxBytes, signal);
    if (bytes.byteLength === 0) {
      throw new ImageCorruptError(`Cannot read image ${quote(file)}: expected an image, the file is empty`);
    }
    return bytes;
  } catch (error) {
    throw translate(file, error);
  } finally {
    // Not awaited: the bytes are read.
    handle?.close().catch(() => {});
  }
}

function requireRegular(file: string, found: { isFile(): boolean; isDirectory(): boolean; isFIFO(): boolean }): void {
  if (found.isFile()) return;
  const what = found.isDirectory() ? 'a folder' : found.isFIFO() ? 'a FIFO' : 'a device or a socket';
  throw new ImageUnsupportedError(`Cannot read image ${quote(file)}: expected a file, found ${what}`);
}

async function insideRoots(file: string, target: string, roots: readonly string[]): Promise<string> {
  let failure: unknown;
  const real = await realPath(target).catch((error: unknown) => {
    failure = error;
    return placeOf(target);
  });
  for (const root of roots) {
    const realRoot = await realPath(root).catch(() => undefined);
    if (realRoot === undefined || !isInside(realRoot, real)) continue;
    if (failure !== undefined) throw failure;
    return real;
  }
  // The same for what is there and what is not: outside of the roots neither is told.
  throw new ImageForbiddenError(`Cannot read image ${quote(file)}: it leads out of the allowed roots`);
}

async function realPath(file: string): Promise<string> {
  return decodePath(await realpath(encodePath(file), 'buffer'));
}

async function readLink(file: string): Promise<string> {
  return decodePath(await readlink(encodePath(file), 'buffer'));
}

const MAX_LINKS = 40;

/** Where a path leads that can't be opened: its links followed as far as they can be. */
async function placeOf(target: string): Promise<string> {
  const absolute = path.resolve(target);
  let place = path.parse(absolute).root;
  let rest = absolute.slice(place.length).split(path.sep);
  for (let links = 0; rest.length > 0; ) {
    const [part = '', ...others] = rest;
    rest = others;
    if (part === '' || part === '.') continue;
    const next = part === '..' ? path.dirname(place) : path.join(place, part);
    const link = await readLink(next).catch(() => undefined);
    if (link === undefined || links === MAX_LINKS) {
      place = next;
      continue;
    }
    links += 1;
    rest = [...link.split(path.sep), ...rest];
    if (path.isAbsolute(link)) place = path.parse(link).root;
  }
  return place;
}

function isInside(root: string, target: string): boolean {
  const relative = path.relative(root, target);
  return relative !== '' && relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}

/** A folder on the way may have become a link since it was looked at: what counts is where the open handle really leads. */
async function requireSameInsideRoots(
  file: string,
  handle: FileHandle,
  target: string,
  opened: { dev: number; ino: number },
  roots: readonly string[],
): Promise<void> {
  if (process.platform === 'linux') {
    const real = await readLink(`/proc/self/fd/${handle.fd}`).catch(() => undefined);
    if (real !== undefined) {
      await insideRoots(file, real, roots);
      return;
    }
  }
  const now = await stat(encodePath(await insideRoots(file, target, roots)));
  if (now.dev === opened.dev && now.ino === opened.ino) return;
  throw new ImageForbiddenError(`Cannot read image ${quote(file)}: it changed while it was being opened`);
}

/** Reads to the end, whatever size the file claims: files of `/proc` claim 0, and a file may grow. */
async function readAll(
  file: string,
  handle: FileHandle,
  size: number,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  let buffer = Buffer.allocUnsafeSlow(Math.max(size, 1) + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.byteLength - length, length);
    signal?.throwIfAborted();
    if (bytesRead === 0) return buffer.subarray(0, length);
    length += bytesRead;
    if (length > maxBytes) throw tooManyBytes(`image ${quote(file)}`, length, maxBytes);
    // As long as it said, and nothing more when more was asked for: the end.
    if (length === size) return buffer.subarray(0, length);
    if (length === buffer.byteLength) {
      const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(65_536, buffer.byteLength * 2), maxBytes + 1));
      buffer.copy(larger);
      buffer = larger;
    }
  }
}

function translate(file: string, error: unknown): unknown {
  if (!isError(error) || !('syscall' in error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  const options = { cause: error };
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENAMETOOLONG': {
      const hint = /^https?:/i.test(file) ? ' (a path is never fetched: use embedImageUrl)' : '';
      return new ImageNotFoundError(`Cannot read image ${quote(file)}: no such file${hint}`, options);
    }
    case 'ELOOP':
      return new ImageForbiddenError(
        `Cannot read image ${quote(file)}: its links lead in a circle or were swapped`,
        options,
      );
    case 'EISDIR':
      return new ImageUnsupportedError(`Cannot read image ${quote(file)}: expected a file, found a folder`, options);
    case 'ENXIO':
      return new ImageUnsupportedError(
        `Cannot read image ${quote(file)}: expected a file, found a device or a socket`,
        options,
      );
    default:
      return new ImageReadError(`Cannot read image ${quote(file)}: ${code ?? 'the system refused'}`, options);
  }
}

function quote(file: string): string {
  return JSON.stringify(printablePath(file.length > 300 ? `${file.slice(0, 300)}…` : file));
}
