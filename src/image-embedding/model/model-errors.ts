/**
 * What can be wrong with a model, from its name on the hub to its output: one class for each failure that a caller can act on. Every one
 * crosses from the child process to the caller with its class, `code`, `fault` and `cause`.
 */
import { type Fault, MillraceError, type MillraceErrorOptions } from '../../core/index.js';

/** There is no model there: no folder, or a folder without an ONNX file or without the configuration that reading it needs. */
export class ModelNotFoundError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelNotFoundError';
  override readonly code = 'ERR_MODEL_NOT_FOUND';
  override readonly fault: Fault = 'caller';
}

/** A configuration file of the model is not JSON, or says something that can't be. */
export class ModelConfigError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelConfigError';
  override readonly code = 'ERR_MODEL_CONFIG';
  override readonly fault: Fault = 'caller';
}

/** The model is sound and asks for what this version does not do: a preprocessing step that is not known, or a newer onnxruntime. */
export class ModelUnsupportedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelUnsupportedError';
  override readonly code = 'ERR_MODEL_UNSUPPORTED';
  override readonly fault: Fault = 'caller';
}

/** The model file is empty, cut short, damaged, or no ONNX model at all. */
export class ModelCorruptError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelCorruptError';
  override readonly code = 'ERR_MODEL_CORRUPT';
  override readonly fault: Fault = 'model';
}

/** The runtime refused the model: an operator or execution provider that it lacks, or weights outside the model's folder. */
export class ModelLoadError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelLoadError';
  override readonly code = 'ERR_MODEL_LOAD';
  override readonly fault: Fault = 'model';
}

/** The model's inputs or outputs are not those of an image embedding model of the described kind. */
export class ModelMismatchError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelMismatchError';
  override readonly code = 'ERR_MODEL_MISMATCH';
  override readonly fault: Fault = 'model';
}

/** The model failed while it ran. */
export class ModelInferenceError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelInferenceError';
  override readonly code = 'ERR_MODEL_INFERENCE';
  override readonly fault: Fault = 'model';
}

/** onnxruntime-node is not installed, or can't be loaded on this machine. */
export class ModelRuntimeMissingError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelRuntimeMissingError';
  override readonly code = 'ERR_MODEL_RUNTIME_MISSING';
  override readonly fault: Fault = 'system';
}

/** The hub, or a mirror of it, could not be reached, or would not hand the model out. */
export class ModelDownloadError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelDownloadError';
  override readonly code = 'ERR_MODEL_DOWNLOAD';
  override readonly fault: Fault = 'system';
}

/** What was downloaded, or lies in the cache, is not what its digest says. */
export class ModelDigestError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelDigestError';
  override readonly code = 'ERR_MODEL_DIGEST';
  override readonly fault: Fault = 'system';
}

/** The model is not in the cache, and downloading is turned off. */
export class ModelOfflineError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelOfflineError';
  override readonly code = 'ERR_MODEL_OFFLINE';
  override readonly fault: Fault = 'caller';
}

/** An error class that is made from a message and options alone, as every class of this file is. */
export type ModelErrorClass = new (message: string, options?: MillraceErrorOptions) => MillraceError;

/** Every class of this file, for the codec that carries errors between processes. */
export const modelErrorClasses: readonly ModelErrorClass[] = [
  ModelNotFoundError,
  ModelConfigError,
  ModelUnsupportedError,
  ModelCorruptError,
  ModelLoadError,
  ModelMismatchError,
  ModelInferenceError,
  ModelRuntimeMissingError,
  ModelDownloadError,
  ModelDigestError,
  ModelOfflineError,
];

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_MODEL_NO_TEXT: ModelNoTextError;
    ERR_WORD_UNKNOWN: WordUnknownError;
    ERR_MODEL_NOT_FOUND: ModelNotFoundError;
    ERR_MODEL_CONFIG: ModelConfigError;
    ERR_MODEL_UNSUPPORTED: ModelUnsupportedError;
    ERR_MODEL_CORRUPT: ModelCorruptError;
    ERR_MODEL_LOAD: ModelLoadError;
    ERR_MODEL_MISMATCH: ModelMismatchError;
    ERR_MODEL_INFERENCE: ModelInferenceError;
    ERR_MODEL_RUNTIME_MISSING: ModelRuntimeMissingError;
    ERR_MODEL_DOWNLOAD: ModelDownloadError;
    ERR_MODEL_DIGEST: ModelDigestError;
    ERR_MODEL_OFFLINE: ModelOfflineError;
  }
}

/** A model has nothing that makes vectors of words. */
export class ModelNoTextError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'ModelNoTextError';
  override readonly code = 'ERR_MODEL_NO_TEXT' as const;
  override readonly fault: Fault = 'caller';
}

/** A model that knows single words alone does not know this one. */
export class WordUnknownError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'WordUnknownError';
  override readonly code = 'ERR_WORD_UNKNOWN' as const;
  override readonly fault: Fault = 'caller';
}
