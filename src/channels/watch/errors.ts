import { hide, MillraceError } from '../../core/index.js';

/**
 * A value was sent while `sendModify` or `sendIfModified` of the same channel changes it: one of the two would be lost. What was not sent is in
 * {@link ModifyingError.value}.
 */
export class ModifyingError<T = unknown> extends MillraceError {
  override readonly code = 'ERR_WATCH_MODIFYING';
  override readonly fault = 'caller';
  /** What was not sent; hidden, so that logs do not print it. */
  declare readonly value: T;

  constructor(message: string, value: T) {
    super(message);
    hide(this, 'value', value);
  }
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_WATCH_MODIFYING: ModifyingError;
  }
}
