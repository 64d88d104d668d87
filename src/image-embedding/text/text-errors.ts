import { type Fault, MillraceError } from '../../core/index.js';

/** A model has nothing that makes vectors of words. */
export class ModelNoTextError extends MillraceError {
  override readonly code = 'ERR_MODEL_NO_TEXT' as const;
  override readonly fault: Fault = 'caller';
}

/** A model that knows single words alone does not know this one. */
export class WordUnknownError extends MillraceError {
  override readonly code = 'ERR_WORD_UNKNOWN' as const;
  override readonly fault: Fault = 'caller';
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_MODEL_NO_TEXT: ModelNoTextError;
    ERR_WORD_UNKNOWN: WordUnknownError;
  }
}
