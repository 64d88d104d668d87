/** Resolves the models of a pool by name, once each, and registers them with the pool below. */
import type { Pool } from '../../pool/index.js';
import { DeadlineExceededError } from '../../worker/index.js';
import { inNeutralContext } from '../../worker/internal.js';
import { fetchModel } from '../hub/fetch-model.js';
import { labelOfSource, type ModelSource, nameOfSource, resolveModel } from '../model/resolve-model.js';
import { modelBytes } from '../model/weights.js';
import { prepareFile } from '../prepare/prepare.js';
import { waitFor } from '../wait-for.js';
import { type LoadedModel, registerModel } from './loaded-model.js';
import type { FacadeSettings } from './pool-options.js';

/** The model of a call, and its limits. */
export interface LoadOptions {
  readonly model?: ModelSource | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** The part of a registry that calls need. */
export type ModelLookup = Pick<ModelRegistry, 'ready' | 'load'>;

/** The resolved models of a pool. */
export class ModelRegistry {
  readonly #pool: Pool;
  readonly #settings: FacadeSettings;
  readonly #loading = new Map<string, Promise<LoadedModel>>();
  readonly #loaded = new Map<string, LoadedModel>();
  readonly #stopped = new AbortController();
  readonly #named: ReadonlyMap<string, ModelSource>;
  readonly #labels = new Set<string>();

  constructor(pool: Pool, settings: FacadeSettings) {
    this.#pool = pool;
    this.#settings = settings;
    this.#named = new Map(Object.entries(settings.models));
  }

  /** The model of a call if it is already resolved. */
  ready(model: ModelSource | undefined): LoadedModel | undefined {
    return this.#loaded.get(this.#name(model).key);
  }

  /** Resolves the model of a call. Concurrent calls share the resolution; after a failure the next call retries. */
  async load({ model, signal, timeoutMs }: LoadOptions): Promise<LoadedModel> {
    const { key, source } = this.#name(model);
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = inNeutralContext(() => this.#resolve(key, source));
      this.#loading.set(key, loading);
      loading.catch(() => this.#loading.delete(key));
    }
    if (timeoutMs === undefined) return waitFor(loading, signal);
    const error = () =>
      new DeadlineExceededError(`Cannot embed image: ${key} was not ready in ${timeoutMs} ms`, timeoutMs);
    return waitFor(loading, signal, { ms: timeoutMs, error });
  }

  /** Stops downloads and preparations when the pool ends. */
  stop(reason: Error): void {
    this.#stopped.abort(reason);
  }

  /** The key and the source of a named model. */
  #name(model: ModelSource = this.#settings.model): { readonly key: string; readonly source: ModelSource } {
    const named = typeof model === 'string' ? this.#named.get(model) : undefined;
    return named === undefined ? { key: nameOfSource(model), source: model } : { key: model as string, source: named };
  }

  /** A short unique name for metrics: paths differ between machines and reveal too much. */
  #labelOf(key: string, source: ModelSource): string {
    const label = this.#named.has(key) ? key : labelOfSource(source);
    const isTaken = (each: string): boolean => (each !== key && this.#named.has(each)) || this.#labels.has(each);
    let free = label;
    for (let count = 2; isTaken(free); count += 1) free = `${label} ${count}`;
    this.#labels.add(free);
    return free;
  }

  async #resolve(key: string, source: ModelSource): Promise<LoadedModel> {
    const { signal } = this.#stopped;
    const { hub, prepare, session, folder } = this.#settings;
    const names = Object.keys(this.#settings.models);
    const spec = await resolveModel(source, (reference) => fetchModel(reference, hub, signal), folder, names);
    const prepared = prepare === undefined ? undefined : await prepareFile(spec, session, prepare, { signal });
    // A missing file counts as 0 bytes; its load reports the error.
    const bytes = await modelBytes(spec.file);
    const costMb = estimateCostMb(bytes, prepared !== undefined);
    const label = this.#labelOf(key, source);
    const loaded = registerModel(this.#pool, { key, label, spec, prepared, bytes, costMb }, this.#settings);
    this.#loaded.set(key, loaded);
    return loaded;
  }
}

/** The cost of a worker process without a model, in MB. */
const PROCESS_MB = 120;
/** The cost per byte of a model file: the weights, and a second copy of most of them in the CPU's layout. */
const BYTES_PER_MODEL_BYTE = 1.6;
/** The cost per byte of a prepared model, whose weights all workers share. */
const BYTES_PER_PREPARED_BYTE = 0.6;

/** The estimated cost of a worker in MB. */
function estimateCostMb(bytes: number, isPrepared: boolean): number {
  return Math.round(PROCESS_MB + (bytes * (isPrepared ? BYTES_PER_PREPARED_BYTE : BYTES_PER_MODEL_BYTE)) / 1e6);
}
