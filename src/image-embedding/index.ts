/**
 * Image embedding: pictures in, vectors out.
 *
 * `createImageEmbeddingPool()` is the whole of it: models in workers of their own, images from paths, URLs, base64 or bytes. A model is named by
 * its folder, by its name on the hub, or described with `createModelSpec()`.
 *
 * @module millrace/image-embedding
 */
export {
  type ErrorCode,
  type ErrorOf,
  type Fault,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
} from '../core/index.js';
export type { PreprocessMode } from './decode/preprocessor.js';
export { createThumbnail, type ThumbnailOptions } from './decode/thumbnail.js';
export { similarity } from './embedding-vector.js';
export type { SettledEmbedding, StreamResult } from './facade/embed-images.js';
export { BatchError, type BatchFailure } from './facade/embed-images.js';
export type {
  BatchEmbedOptions,
  DetailedEmbedding,
  EmbedImagesOptions,
  EmbedOneOptions,
  EmbedOptions,
  EmbedTextOptions,
  WarmOptions,
} from './facade/embed-one.js';
export { createImageEmbeddingPool, ImageEmbeddingPool } from './facade/image-embedding-pool.js';
export type { BatchInput, ImageBytes, ImageInput, ImageMemory } from './facade/image-input.js';
export type {
  ImageEmbeddingPoolOptions,
  PassedModelOptions,
  WorkerCount,
} from './facade/pool-options.js';
export type { BlobLike, ByteStream, ReadableReader, ResponseLike } from './facade/read-bytes.js';
export {
  createRemoteImageEmbeddingPool,
  type RemoteImageEmbeddingPool,
  type RemoteImageEmbeddingPoolOptions,
  type RemoteImageLimits,
} from './remote/remote-image-embedding-pool.js';
export {
  serveImageEmbeddingPool,
  type ServeImageEmbeddingPoolOptions,
} from './remote/serve-image-embedding-pool.js';
export type { HubOptions, HubProgress } from './hub/hub-options.js';
export {
  Base64InvalidError,
  ImageCorruptError,
  ImageForbiddenError,
  ImageNotFoundError,
  ImageReadError,
  ImageTimeoutError,
  ImageTooLargeError,
  ImageUnsupportedError,
  MissingDependencyError,
  UrlFetchError,
  UrlForbiddenError,
} from './image-errors.js';
export type { PickedOutput, ValueInfo } from './inference/output.js';
export type { SessionDescription, SessionInput, SessionOptions } from './inference/session.js';
export {
  ModelConfigError,
  ModelCorruptError,
  ModelDigestError,
  ModelDownloadError,
  ModelInferenceError,
  ModelLoadError,
  ModelMismatchError,
  ModelNoTextError,
  ModelNotFoundError,
  ModelOfflineError,
  ModelRuntimeMissingError,
  ModelUnsupportedError,
  WordUnknownError,
} from './model/model-errors.js';
export {
  identifyModel,
  type ModelDtype,
  type ModelFolderOptions,
  type ModelIdentity,
  readModelFolder,
} from './model/model-folder.js';
export type { PreprocessSpec, Resample, ResizeExactly, ResizeShortestEdge } from './model/model-spec.js';
export {
  createModelSpec,
  type ModelSpec,
  type ModelSpecOptions,
  type OutputSpec,
  type Pooling,
} from './model/model-spec.js';
export type { ModelReference, ModelSource } from './model/resolve-model.js';
export type { ModelDescription } from './operations.js';
export type { PrepareOptions } from './prepare/prepare.js';
export { type PreparedModel, type PrepareModelOptions, prepareModel } from './prepare/prepare.js';
export type { FailOn, ImageLimitOptions, ImageLimits, UrlLimits } from './sources/limits.js';
