/**
 * What can be wrong with an image, from the path or URL that names it to its last pixel: one class for each failure that a caller can act on.
 * Every one crosses from the child process to the caller with its class, `code`, `fault` and `cause`.
 */
import { type Fault, MillraceError, type MillraceErrorOptions } from '../core/index.js';
import { describeLoadFailure } from './load-failure.js';

/** There is no file at the path. */
export class ImageNotFoundError extends MillraceError {
  override readonly code = 'ERR_IMAGE_NOT_FOUND';
  override readonly fault: Fault = 'caller';
}

/** The path may not be read: it leads out of the allowed roots. */
export class ImageForbiddenError extends MillraceError {
  override readonly code = 'ERR_IMAGE_FORBIDDEN';
  override readonly fault: Fault = 'caller';
}

/** The file is there and could not be read: permissions, disk, or too many open files. */
export class ImageReadError extends MillraceError {
  override readonly code = 'ERR_IMAGE_READ';
  override readonly fault: Fault = 'system';
}

/** What was found is not a JPEG, PNG, WebP, GIF, AVIF or TIFF image, or not even a file. */
export class ImageUnsupportedError extends MillraceError {
  override readonly code = 'ERR_IMAGE_UNSUPPORTED';
  override readonly fault: Fault = 'caller';
}

/** The bytes begin like an image and do not hold one: empty, cut short or damaged. */
export class ImageCorruptError extends MillraceError {
  override readonly code = 'ERR_IMAGE_CORRUPT';
  override readonly fault: Fault = 'caller';
}

/** More bytes or more pixels than the limits allow. */
export class ImageTooLargeError extends MillraceError {
  override readonly code = 'ERR_IMAGE_TOO_LARGE';
  override readonly fault: Fault = 'caller';
}

/** Decoding took longer than the limits allow. */
export class ImageTimeoutError extends MillraceError {
  override readonly code = 'ERR_IMAGE_TIMEOUT';
  override readonly fault: Fault = 'caller';
}

/** The URL, or one that it redirects to, may not be fetched: its scheme, its host, its port or the address behind it. */
export class UrlForbiddenError extends MillraceError {
  override readonly code = 'ERR_URL_FORBIDDEN';
  override readonly fault: Fault = 'caller';
}

/** The URL may be fetched, and fetching it failed: no such host, refused, timed out, or an answer other than 200. */
export class UrlFetchError extends MillraceError {
  override readonly code = 'ERR_URL_FETCH';
  override readonly fault: Fault = 'system';
}

/** The text is not base64, or not a base64 data URL. */
export class Base64InvalidError extends MillraceError {
  override readonly code = 'ERR_BASE64_INVALID';
  override readonly fault: Fault = 'caller';
}

/** An optional native package that this call needs is not installed, or can't be loaded on this machine. */
export class MissingDependencyError extends MillraceError {
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
