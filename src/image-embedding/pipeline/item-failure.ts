/** The failure of one image of a batch, as plain data: the others of the batch have their vectors, so it can't be what the call rejects with. */
import { isError, MillraceError, textOf } from '../../core/index.js';
import { decodeError, encodeError } from '../../worker/index.js';

/** An error in the form in which those of single calls cross: with its class, `code`, `fault`, `cause` and properties. */
export type ItemFailure = object;

/** An image failed with something that is no error. */
export class ImageFailedError extends MillraceError {
  override readonly code: string = 'ERR_IMAGE_FAILED';
}

/** Describes an error as plain data. */
export function encodeFailure(error: unknown): ItemFailure {
  return encodeError(error);
}

/** Makes the error again, of its own class: the same that a call with this image alone would have failed with. */
export function decodeFailure(failure: ItemFailure): Error {
  const error = decodeError(failure as ReturnType<typeof encodeError>);
  return isError(error) ? error : new ImageFailedError(textOf(error), { cause: error });
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_IMAGE_FAILED: ImageFailedError;
  }
}
