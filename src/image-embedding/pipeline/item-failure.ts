/** The failure of one image of a batch, as plain data: the others of the batch have their vectors, so it can't be what the call rejects with. */
import { type Fault, isMillraceError, MillraceError, type MillraceErrorOptions } from '../../core/index.js';
import { imageErrorClasses } from '../image-errors.js';
import { modelErrorClasses } from '../model/model-errors.js';

/** An error by the names of its class and code. */
export interface ItemFailure {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly fault: Fault;
}

const classes: ReadonlyMap<string, new (message: string, options?: MillraceErrorOptions) => Error> = new Map(
  [...imageErrorClasses, ...modelErrorClasses, TypeError, RangeError].map((each) => [each.name, each]),
);

/** An image failed with an error that is not Millrace's own. */
export class ImageFailedError extends MillraceError {
  override readonly code: string = 'ERR_IMAGE_FAILED';
}

/** Describes an error as plain data. */
export function encodeFailure(error: unknown): ItemFailure {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), code: undefined, fault: 'model' };
  const code = (error as { code?: unknown }).code;
  const fault = isMillraceError(error) ? error.fault : error instanceof TypeError ? 'caller' : 'model';
  return { name: error.name, message: error.message, code: typeof code === 'string' ? code : undefined, fault };
}

/** Makes the error again, of its own class. */
export function decodeFailure(failure: ItemFailure): Error {
  const Class = classes.get(failure.name);
  return Class === undefined ? new ImageFailedError(`${failure.name}: ${failure.message}`) : new Class(failure.message);
}
