/** What a text worker can do. */
import type { ModelHandle, Pool, PoolCallOptions } from '../../pool/index.js';
import { operation, registerErrorClass, type UnaryOperation } from '../../worker/index.js';
import { packageUrl } from '../../worker/internal.js';
import { normalizeInPlace } from '../embedding-vector.js';
import { fetchTextTower } from '../hub/fetch-model.js';
import type { HubSettings } from '../hub/hub-options.js';
import type { SessionOptions } from '../inference/session.js';
import { ModelNoTextError, modelErrorClasses } from '../model/model-errors.js';
import type { ModelSpec } from '../model/model-spec.js';
import { modelBytes } from '../model/weights.js';
import { ClassifierWords } from './classifier-words.js';
import { readTextSpec, type TextSpec } from './text-spec.js';

export type TextOperations = {
  readonly embedText: UnaryOperation<string, Float32Array>;
};

/** Declares the operations. */
export function declareTextOperations(capacity: number): TextOperations {
  return { embedText: operation<string, Float32Array>({ capacity, idempotent: true }) };
}

/** How text towers are run. */
export interface TextSettings {
  readonly host: 'process' | 'thread' | 'inline';
  readonly session: SessionOptions;
  readonly capacity: number;
  readonly hub: HubSettings;
  /** How long a text worker without work lives, in ms. */
  readonly idleTimeoutMs: number;
}

/** A model whose texts are asked for. */
export interface TextModel {
  readonly key: string;
  readonly spec: ModelSpec;
}

/** What a worker's process costs without a model, in MB, and what a loaded model costs for each byte of its file. */
const PROCESS_MB = 100;
const BYTES_PER_MODEL_BYTE = 1.6;

type Source =
  | { readonly kind: 'tower'; readonly handle: ModelHandle<TextOperations> }
  | { readonly kind: 'words'; readonly words: ClassifierWords };

export class TextVectors {
  readonly #pool: Pool;
  readonly #settings: TextSettings;
  readonly #stopped = new AbortController();
  readonly #sources = new Map<string, Promise<Source>>();

  constructor(pool: Pool, settings: TextSettings) {
    this.#pool = pool;
    this.#settings = settings;
  }

  /**
   * The vectors of a text, of length 1: one by a text tower, one for each class by a classifier.
   *
   * @throws ModelNoTextError When the model has neither; WordUnknownError when a noun is none of its classifier's.
   */
  async vectorsOf(model: TextModel, text: string, options: PoolCallOptions): Promise<readonly Float32Array[]> {
    const source = await this.#sourceOf(model);
    if (source.kind === 'words') return source.words.vectorsOf(text);
    return [normalizeInPlace((await source.handle.call('embedText', text, options)).slice())];
  }

  /** Stops what brings text towers here: the pool goes. */
  stop(reason: Error): void {
    this.#stopped.abort(reason);
  }

  async #sourceOf({ key, spec }: TextModel): Promise<Source> {
    let source = this.#sources.get(key);
    if (source === undefined) {
      source = this.#find(key, spec);
      this.#sources.set(key, source);
      source.catch(() => this.#sources.delete(key));
    }
    return await source;
  }

  async #find(key: string, spec: ModelSpec): Promise<Source> {
    const { hub } = this.#settings;
    const own = await readTextSpec(spec);
    const isOfHub = own === undefined && (await fetchTextTower(spec.file, hub, this.#stopped.signal));
    const tower = own ?? (isOfHub ? await readTextSpec(spec) : undefined);
    if (tower !== undefined) return { kind: 'tower', handle: await this.#register(key, tower) };
    const words = await ClassifierWords.load(spec.file);
    if (words !== undefined) return { kind: 'words', words };
    const why =
      isOfHub && hub.offline
        ? 'has no text tower in the cache, and downloads are turned off'
        : 'has no text tower; search by a picture, or by a model such as CLIP or SigLIP';
    throw new ModelNoTextError(`Cannot embed text: ${spec.name} ${why}`);
  }

  /** A worker of its own, with its own queue: it starts with the first text, and leaves when no more come. */
  async #register(key: string, spec: TextSpec): Promise<ModelHandle<TextOperations>> {
    const { host, session, capacity, idleTimeoutMs } = this.#settings;
    for (const each of modelErrorClasses) registerErrorClass(each);
    const bytes = await modelBytes(spec.file);
    return this.#pool.register<TextOperations>(`${key} (text)`, {
      label: `${spec.name} text`,
      operations: declareTextOperations(capacity),
      module: packageUrl('image-embedding/text/text-worker-model.js'),
      options: { spec, session },
      host,
      ...(host === 'process' ? { costMb: Math.round(PROCESS_MB + (BYTES_PER_MODEL_BYTE * bytes) / 1e6) } : {}),
      minWorkers: 0,
      maxWorkers: 1,
      idleTimeoutMs,
    });
  }
}

/** One vector for several: their mean, at length 1. */
export function meanVector(vectors: readonly Float32Array[]): Float32Array {
  const sum = new Float32Array((vectors[0] as Float32Array).length);
  for (const vector of vectors)
    for (let at = 0; at < sum.length; at++) sum[at] = (sum[at] as number) + (vector[at] as number);
  return normalizeInPlace(sum);
}
