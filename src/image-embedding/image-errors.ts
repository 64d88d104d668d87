/**
 * What can be wrong with an image, from the path or URL that names it to its last pixel: one class for each failure that a caller can act on.
 * Every one crosses from the child process to the caller with its class, `code`, `fault` and `cause`.
 */
import { type Fault, MillraceError, type MillraceErrorOptions, messageOf } from '../core/index.js';

/** There is no file at the path. */
export class ImageNotFoundError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ImageNotFoundError';
  override readonly code = 'ERR_IMAGE_NOT_FOUND';
  override readonly fault: Fault = 'caller';
}

/** The path may not be read: it leads out of the allowed roots. */
export class ImageForbiddenError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ImageForbiddenError';
  override readonly code = 'ERR_IMAGE_FORBIDDEN';
  override readonly fault: Fault = 'caller';
}

/** The file is there and could not be read: permissions, disk, or too many open files. */
export class ImageReadError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ImageReadError';
  override readonly code = 'ERR_IMAGE_READ';
  override readonly fault: Fault = 'system';
}

/** What was found is not a JPEG, PNG, WebP, GIF, AVIF or TIFF image, or not even a file. */
export class ImageUnsupportedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ImageUnsupportedError';
  override readonly code = 'ERR_IMAGE_UNSUPPORTED';
  override readonly fault: Fault = 'caller';
}

/** The bytes begin like an image and do not hold one: empty, cut short or damaged. */
export class ImageCorruptError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ImageCorruptError';
  override readonly code = 'ERR_IMAGE_CORRUPT';
  override readonly fault: Fault = 'caller';
}

/** More bytes or more pixels than the limits allow. */
export class ImageTooLargeError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ImageTooLargeError';
  override readonly code = 'ERR_IMAGE_TOO_LARGE';
  override readonly fault: Fault = 'caller';
}

/** Decoding took longer than the limits allow. */
export class ImageTimeoutError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ImageTimeoutError';
  override readonly code = 'ERR_IMAGE_TIMEOUT';
  override readonly fault: Fault = 'caller';
}

/** The URL, or one that it redirects to, may not be fetched: its scheme, its host, its port or the address behind it. */
export class UrlForbiddenError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'UrlForbiddenError';
  override readonly code = 'ERR_URL_FORBIDDEN';
  override readonly fault: Fault = 'caller';
}

/** The URL may be fetched, and fetching it failed: no such host, refused, timed out, or an answer other than 200. */
export class UrlFetchError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'UrlFetchError';
  override readonly code = 'ERR_URL_FETCH';
  override readonly fault: Fault = 'system';
}

/** The text is not base64, or not a base64 data URL. */
export class Base64InvalidError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'Base64InvalidError';
  override readonly code = 'ERR_BASE64_INVALID';
  override readonly fault: Fault = 'caller';
}

/** An optional native package that this call needs is not installed, or can't be loaded on this machine. */
export class MissingDependencyError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'MissingDependencyError';
  override readonly code = 'ERR_DEPENDENCY_MISSING';
  override readonly fault: Fault = 'system';

  /**
   * @param dependency The npm package that could not be loaded.
   * @param purpose What it was needed for, such as `decode image`.
   * @param options The failed import as `cause`.
   */
  static create(dependency: string, purpose: string, options?: MillraceErrorOptions): MissingDependencyError {
    return new MissingDependencyError(`Cannot ${purpose}: ${describeLoadFailure(dependency, options?.cause)}`, options);
  }
}

/** An error class that is made from a message and options alone, as every class of this file is. */
export type ImageErrorClass = new (message: string, options?: MillraceErrorOptions) => MillraceError;

/** Every class of this file, for the codec that carries errors between processes. */
export const imageErrorClasses: readonly ImageErrorClass[] = [
  ImageNotFoundError,
  ImageForbiddenError,
  ImageReadError,
  ImageUnsupportedError,
  ImageCorruptError,
  ImageTooLargeError,
  ImageTimeoutError,
  UrlForbiddenError,
  UrlFetchError,
  Base64InvalidError,
  MissingDependencyError,
];

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_IMAGE_NOT_FOUND: ImageNotFoundError;
    ERR_IMAGE_FORBIDDEN: ImageForbiddenError;
    ERR_IMAGE_READ: ImageReadError;
    ERR_IMAGE_UNSUPPORTED: ImageUnsupportedError;
    ERR_IMAGE_CORRUPT: ImageCorruptError;
    ERR_IMAGE_TOO_LARGE: ImageTooLargeError;
    ERR_IMAGE_TIMEOUT: ImageTimeoutError;
    ERR_URL_FORBIDDEN: UrlForbiddenError;
    ERR_URL_FETCH: UrlFetchError;
    ERR_BASE64_INVALID: Base64InvalidError;
    ERR_DEPENDENCY_MISSING: MissingDependencyError;
  }
}

const NATIVES: readonly string[] = ['onnxruntime-node', 'sharp'];
const INSTALL = 'ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node sharp';

const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /ld-linux|ld-musl|libc\.musl|musl/i,
    'its binary needs glibc, which Alpine and other systems with musl lack: use an image with glibc, such as node:22-slim',
  ],
  [
    /GLIBC_|GLIBCXX_|CXXABI_/,
    'its binary needs a newer glibc or libstdc++ than this system has: use a newer system or image',
  ],
  [
    /invalid ELF header|wrong ELF class|mach-o|incompatible architecture|not a valid Win32 application|cannot open shared object file|_binding\.node/i,
    `its binary is not for this machine (${process.platform}-${process.arch}): install it here, without files of another`,
  ],
];

/**
 * What became of loading a package, for a message.
 *
 * @param dependency The package.
 * @param cause What its import, or its native part, threw.
 */
export function describeLoadFailure(dependency: string, cause: unknown): string {
  if (isNotFound(dependency, cause)) {
    const command = NATIVES.includes(dependency) ? INSTALL : `npm install ${dependency}`;
    return `the optional package ${dependency} could not be loaded, install it with ${command}`;
  }
  const text = messageOf(cause);
  const hint = HINTS.find(([pattern]) => pattern.test(text))?.[1];
  return `the package ${dependency} is installed and could not be loaded: ${text.split('\n', 1)[0]}${hint === undefined ? '' : ` (${hint})`}`;
}

/** Whether an error is that of a package's native part, which may come long after its import. */
export function isNativeFailure(error: unknown): boolean {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return code === 'ERR_DLOPEN_FAILED' || code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND';
}

/** A package that lacks one of its own packages is there. */
function isNotFound(dependency: string, cause: unknown): boolean {
  if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'ERR_MODULE_NOT_FOUND') return false;
  const named = /Cannot find (?:package|module) '([^']+)'/.exec(messageOf(cause))?.[1];
  return named === undefined || named === dependency || named.endsWith(`/node_modules/${dependency}`);
}

/** The error for something that exceeds a cap in bytes. */
export function tooManyBytes(what: string, bytes: number, maxBytes: number): ImageTooLargeError {
  return new ImageTooLargeError(`Cannot read ${what}: at most ${maxBytes} bytes are allowed, received ${bytes}`);
}
