/** How often something took how long, in ms, as it crosses to the pool: few numbers, however many were counted. */

import { createHash, webcrypto } from 'node:crypto';
import type { ModelContext, ModelOf, WorkerHost } from '../../worker/index.js';
import { createPreprocessor, PixelGarbage, type PreprocessMode } from '../decode/preprocessor.js';
import { loadSharp } from '../decode/sharp-loader.js';
import { EmbeddingSession, preloadRuntime, type SessionOptions } from '../inference/session.js';
import { loadKernels } from '../kernels/kernels.js';
import type { ModelSpec } from '../model/model-spec.js';
import type { ImageOperations, ModelDescription } from '../operations.js';
import { FetchThread } from '../sources/fetch-thread.js';
import type { ImageLimits } from '../sources/limits.js';
import { readSource, type SourceKind } from '../sources/read-source.js';
import type { Digest } from './picture.js';
import { EmbeddingPipeline } from './pipeline.js';

/** Inclusive upper bounds, in ms; what takes longer counts under `Infinity`. */
const BOUNDS_MS: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/** Counts durations. */
export class TimeTally {
  readonly #counts = new Map<number, number>();

  observe(ms: number, times = 1): void {
    const bound = BOUNDS_MS.find((each) => ms <= each) ?? Number.POSITIVE_INFINITY;
    this.#counts.set(bound, (this.#counts.get(bound) ?? 0) + times);
  }

  /** How many took at most so many ms and more than the bound before: `{ 10: 3, 20: 12 }`. Bounds without any are left out. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}

/** How many URLs of one host are fetched at once. */
const FETCHES_PER_HOST = 8;

/** What the module is given; plain data, since it crosses to another process. */
export interface WorkerModelOptions {
  readonly spec: ModelSpec;
  readonly session: SessionOptions;
  /** The folder of the model prepared for this machine, if there is one. */
  readonly prepared: string | undefined;
  readonly preprocess: PreprocessMode;
  readonly limits: ImageLimits;
  /** The most images in one run. */
  readonly maxBatch: number;
  /** How long the first image of a batch waits for company while the model is free, in ms. */
  readonly maxDelayMs: number;
  /** Whether identical images under way share one run. */
  readonly coalesce: boolean;
  /** Whether memory counts for more than a percent of the CPU: a large model's runs take so long. */
  readonly isThrifty: boolean;
}

/** What runs the model: an `EmbeddingSession`, or what a test puts in its place. */
export type ModelSession = Pick<EmbeddingSession, 'description' | 'run' | 'dispose'>;

/** Loads the model. */
export async function createModel(
  options: WorkerModelOptions,
  context: ModelContext,
): Promise<ModelOf<ImageOperations>> {
  const session = await EmbeddingSession.load(options.spec, options.session, options.prepared);
  return createSessionModel(session, options, context);
}

/** The model's operations around a session. */
export function createSessionModel(
  session: ModelSession,
  options: WorkerModelOptions,
  context: ModelContext,
): ModelOf<ImageOperations> {
  const { spec, limits, maxBatch, maxDelayMs } = options;
  const preprocessor = createPreprocessor(spec.preprocess, options.preprocess, {
    limits,
    // In the caller's own process libvips belongs to the caller, too.
    restrictLoaders: context.host === 'process',
    garbage: options.isThrifty && context.host === 'process' ? PixelGarbage.start() : undefined,
  });
  // How often a batch of which size was run; the pool's metrics gather it.
  const batchSizes: Record<number, number> = {};
  const decodeMs = new TimeTally();
  const runMs = new TimeTally();
  const run = async (images: readonly Uint8Array[]): Promise<Float32Array[]> => {
    batchSizes[images.length] = (batchSizes[images.length] ?? 0) + 1;
    const started = performance.now();
    const vectors = await session.run(images);
    runMs.observe(performance.now() - started, images.length);
    // Not after a failure: the images are then run again, in halves.
    for (const image of images) preprocessor.recycle(image);
    return vectors;
  };
  const fetcher = context.host === 'process' ? new FetchThread(limits.url) : undefined;
  const pipeline = new EmbeddingPipeline({
    read: (kind, input, signal) =>
      kind === 'url' && fetcher !== undefined
        ? fetcher.fetch(input, signal)
        : readSource(kind, input, limits, { signal }),
    decode: async (bytes, signal, onHandedOver) => {
      const started = performance.now();
      const pixels = await preprocessor.decode(bytes, { signal, onHandedOver });
      decodeMs.observe(performance.now() - started);
      return pixels;
    },
    run,
    maxBatch,
    maxDelayMs,
    decodeConcurrency: maxBatch,
    threads: Number(process.env.UV_THREADPOOL_SIZE) || 4,
    fetchConcurrency: FETCHES_PER_HOST,
    arriving: context.arriving,
    digest: options.coalesce ? digestFor(context.host) : undefined,
  });
  let dimension = session.description.output.dimension ?? 0;
  const single = (kind: SourceKind) => (input: unknown, call: { readonly signal: AbortSignal }) =>
    pipeline.embed(kind, input, call.signal);

  return {
    embedImage: single('path'),
    embedImageUrl: single('url'),
    embedImageBase64: single('base64'),
    embedImageBytes: single('bytes'),
    batchEmbedImages: ({ kind, input }, call) => pipeline.embedBulk(kind, input, call.signal),
    describe(): ModelDescription {
      const shorter = spec.dimensions.filter((each) => each < dimension);
      return {
        ...session.description,
        name: spec.name,
        family: spec.family,
        file: spec.file,
        preprocess: { ...spec.preprocess, dtype: session.description.input.type === 'uint8' ? 'uint8' : 'float32' },
        channels: spec.channels,
        dimension,
        supportedDimensions: [dimension, ...shorter],
      };
    },
    /**
     * Decodes and runs a blank image: the first real one then finds everything set up, and a model that fails only when it runs, or a missing
     * sharp, is found out at load. The decode goes first, so that it loads beside the run.
     */
    async warmup(): Promise<void> {
      const decoded = preprocessor.decode(Buffer.from(BLANK_GIF, 'base64'));
      // It may fail while the run is still under way: not unhandled, which would end the process without its error.
      decoded.catch(() => {});
      const [vector] = await session.run([blankImage(spec)]);
      dimension = vector?.length ?? 0;
      await decoded;
    },
    async dispose(): Promise<void> {
      await fetcher?.close();
      await pipeline.idle();
      await session.dispose();
    },
    // An image that is being fetched waits for its server, and takes no place from other images.
    health: () => ({
      ...pipeline.load,
      parked: pipeline.parked,
      batchSizes: { ...batchSizes },
      decodeMs: decodeMs.counts(),
      runMs: runMs.counts(),
    }),
  };
}

export default createModel;

/** What every load needs, whichever the model: called in a process that is kept ready for one. */
export async function preload(): Promise<void> {
  await Promise.all([
    preloadRuntime(),
    loadKernels(),
    loadSharp(false).then((sharp) => sharp(Buffer.from(BLANK_GIF, 'base64')).raw().toBuffer()),
  ]);
}

/** SHA-256, so that no image passes for another. It takes a small part of the time of decoding; on the caller's own event loop it would take that. */
function digestFor(host: WorkerHost): Digest {
  if (host !== 'inline') return (bytes) => createHash('sha256').update(bytes).digest('base64');
  return async (bytes) => Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('base64');
}

/** One grey pixel. */
const BLANK_GIF = 'R0lGODlhAQABAIAAAICAgAAAACwAAAAAAQABAAACAkQBADs=';

function blankImage({ preprocess: { output } }: ModelSpec): Uint8Array {
  return new Uint8Array(3 * output.width * output.height);
}
