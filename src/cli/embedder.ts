import type { ImageLimitOptions, ModelDescription, ModelSource, PreprocessMode } from '../image-embedding/index.js';
import type { EmbedInput } from './input/inputs.js';

/** What the commands need of a pool that embeds: a seam, so that they can be tested without a model. */
export interface Embedder {
  /** Embeds one input. */
  embed(input: EmbedInput): Promise<Float32Array>;
  /** Embeds an image that is in memory. */
  embedBytes(bytes: Uint8Array): Promise<Float32Array>;
  /** How many inputs should be under way at once to keep its workers busy. */
  readonly window: number;
  /** How many workers it has. */
  readonly workers: number;
  /** What the model is; asked of a worker. */
  describe(): Promise<ModelDescription>;
  /** Finishes what is accepted, then ends the workers. */
  close(): Promise<void>;
  /** Ends the workers at once. */
  destroy(reason: Error): Promise<void>;
}

/** What an embedder is made with. */
export interface EmbedderOptions {
  readonly model: ModelSource | undefined;
  readonly workers: number | undefined;
  readonly op: 'path' | 'base64';
  readonly allowPrivateUrls: boolean;
  readonly preprocess?: PreprocessMode | undefined;
  /** Whether vectors are scaled to length 1, true by default. */
  readonly normalize?: boolean | undefined;
  readonly limits?: ImageLimitOptions | undefined;
  /** How many inputs are under way at once; what keeps the workers busy by default. */
  readonly concurrency?: number | undefined;
  /** Told in words how far the download of the model is. */
  readonly onDownload?: (text: string) => void;
}

/** Makes an {@link Embedder}. */
export type CreateEmbedder = (options: EmbedderOptions) => Promise<Embedder>;
