/** What an image embedding worker can do. The same record types the worker's model, the pool and the facade. */
import { operation, type UnaryOperation } from '../worker/index.js';
import type { SessionDescription } from './inference/session.js';
import type { PreprocessSpec } from './model/model-spec.js';
import type { SourceKind } from './sources/read-source.js';

/** A loaded model, for people and for `embeddingDimension()`. */
export interface ModelDescription extends SessionDescription {
  readonly name: string;
  readonly family: string;
  readonly file: string;
  /** The preprocessing of an image. */
  readonly preprocess: PreprocessSpec;
  /** The order of the planes that it takes. */
  readonly channels: 'rgb' | 'bgr';
  /** The length of the embedding. */
  readonly dimension: number;
  /** Every length it may be cut to, the full one first. */
  readonly supportedDimensions: readonly number[];
}

/** One image of many: it gives way to single images, wherever it comes from. */
export interface BulkImage {
  readonly kind: SourceKind;
  readonly input: string | Uint8Array;
}

/** The operations of an image embedding worker. */
export type ImageOperations = {
  readonly embedImage: UnaryOperation<string, Float32Array>;
  readonly embedImageUrl: UnaryOperation<string, Float32Array>;
  readonly embedImageBase64: UnaryOperation<string, Float32Array>;
  readonly embedImageBytes: UnaryOperation<Uint8Array, Float32Array>;
  readonly batchEmbedImages: UnaryOperation<BulkImage, Float32Array>;
  readonly describe: UnaryOperation<undefined, ModelDescription>;
};

/** How many bytes of encoded images may wait for one worker, in each operation that carries them. A larger one never crosses. */
export const MAX_WAITING_BYTES = 256_000_000;

/** Declares the operations. Embedding has no side effect, so that a crash is answered by running the request again. */
export function declareImageOperations(capacity: number): ImageOperations {
  const plain = { capacity, idempotent: true };
  const heavy = { capacity: { items: capacity, bytes: MAX_WAITING_BYTES }, idempotent: true };
  return {
    embedImage: operation<string, Float32Array>(plain),
    embedImageUrl: operation<string, Float32Array>({ ...plain, waitsForOthers: () => true }),
    // Its characters take a byte each.
    embedImageBase64: operation<string, Float32Array>({ ...heavy, sizeOf: (text) => text.length }),
    embedImageBytes: operation<Uint8Array, Float32Array>(heavy),
    batchEmbedImages: operation<BulkImage, Float32Array>({
      ...heavy,
      sizeOf: ({ kind, input }) => (kind === 'bytes' || kind === 'base64' ? input.length : 0),
      waitsForOthers: ({ kind }) => kind === 'url',
    }),
    describe: operation<undefined, ModelDescription>(plain),
  };
}
