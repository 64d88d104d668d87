/**
 * Image embedding: pictures in, vectors out.
 *
 * Describe a model with `readModelFolder()` (a folder in the Hugging Face layout) or `createModelSpec()` (anything else).
 */
export type { SessionOptions } from './inference/session.js';
export {
  ModelConfigError,
  ModelCorruptError,
  ModelDigestError,
  ModelDownloadError,
  ModelInferenceError,
  ModelLoadError,
  ModelMismatchError,
  ModelNotFoundError,
  ModelOfflineError,
  ModelRuntimeMissingError,
  ModelUnsupportedError,
} from './model/model-errors.js';
export { type ModelDtype, type ModelFolderOptions, readModelFolder } from './model/model-folder.js';
export {
  createModelSpec,
  type ModelSpec,
  type ModelSpecOptions,
  type OutputSpec,
  type Pooling,
} from './model/model-spec.js';
export type { PreprocessSpec, Resample, ResizeExactly, ResizeShortestEdge } from './preprocess-spec.js';
export { createThumbnail, type ThumbnailOptions } from './thumbnail.js';
