/** What a command runs with: its streams, and the two kinds of workers, which tests replace. */
import { readFile } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ImageLimitOptions, ModelDescription, ModelSource, PreprocessMode } from '../../image-embedding/index.js';
import type { EmbedInput } from '../input/inputs.js';
import type { ProgressStream } from '../terminal/progress.js';

/** The streams of a command, and how it starts workers. */
export interface CommandContext {
  readonly stdin: Readable;
  readonly stdout: Writable & ProgressStream;
  readonly stderr: Writable & ProgressStream;
  readonly createEmbedder: CreateEmbedder;
  readonly createThumbnailMaker: CreateThumbnailMaker;
}

/** The part of an image embedding pool that commands use. */
export interface Embedder {
  /** Embeds one input. */
  embed(input: EmbedInput): Promise<Float32Array>;
  /** Embeds an image that is in memory. */
  embedBytes(bytes: Uint8Array): Promise<Float32Array>;
  /** How many inputs are under way at once. */
  readonly window: number;
  /** How many workers it has. */
  readonly workers: number;
  /** What the model takes in and gives, as a worker reports it. */
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
  /** Called with a line of text as the model is downloaded. */
  readonly onDownload?: (text: string) => void;
}

/** Makes an {@link Embedder}. */
export type CreateEmbedder = (options: EmbedderOptions) => Promise<Embedder>;

/** Makes small pictures in another process. */
export interface ThumbnailMaker {
  /** A small JPEG of an image file. */
  make(file: string): Promise<Uint8Array>;
  /** How many should be under way at once. */
  readonly window: number;
  close(): Promise<void>;
  destroy(reason: Error): Promise<void>;
}

/** Makes a {@link ThumbnailMaker}. */
export type CreateThumbnailMaker = () => Promise<ThumbnailMaker>;

/** The folder of the package, three above this file in the sources as in the build. */
export const PACKAGE_ROOT: URL = new URL('../../../', import.meta.url);

/** The version in the package's package.json. */
export async function packageVersion(): Promise<string> {
  const text = await readFile(fileURLToPath(new URL('package.json', PACKAGE_ROOT)), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
