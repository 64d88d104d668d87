/** The models of a facade: named, resolved once, registered with the pool below. */
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

/** What a call says of its model. */
export interface LoadOptions {
  readonly model?: ModelSource | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Finds the model of a call. */
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

  /** The model of a call, when it has been resolved before. */
  ready(model: ModelSource | undefined): LoadedModel | undefined {
    return this.#loaded.get(this.#name(model).key);
  }

  /** Resolves the model of a call. Racing calls share it; a failed resolution is tried again by the next call. */
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

  /** Stops what brings models here and prepares them: the pool goes. */
  stop(reason: Error): void {
    this.#stopped.abort(reason);
  }

  /** What a call names: the key it is registered under, and where it comes from. */
  #name(model: ModelSource = this.#settings.model): { readonly key: string; readonly source: ModelSource } {
    const named = typeof model === 'string' ? this.#named.get(model) : undefined;
    return named === undefined ? { key: nameOfSource(model), source: model } : { key: model as string, source: named };
  }

  /** What metrics call a model: short, because the path of a file says too much there, and differs from machine to machine. */
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
    // A file that is missing costs nothing: its load says what is wrong.
    const bytes = await modelBytes(spec.file);
    const costMb = estimateCostMb(bytes, prepared !== undefined);
    const label = this.#labelOf(key, source);
    const loaded = registerModel(this.#pool, { key, label, spec, prepared, bytes, costMb }, this.#settings);
    this.#loaded.set(key, loaded);
    return loaded;
  }
}

/** What a worker's process costs without a model, in MB. */
const PROCESS_MB = 120;
/** What a loaded model costs for each byte of its file: the weights, and a second copy of most, laid out for the CPU. */
const BYTES_PER_MODEL_BYTE = 1.6;
/** And for a prepared one, whose weights all workers share. */
const BYTES_PER_PREPARED_BYTE = 0.6;

/** What a worker will cost, until it was measured. */
function estimateCostMb(bytes: number, isPrepared: boolean): number {
  return Math.round(PROCESS_MB + (bytes * (isPrepared ? BYTES_PER_PREPARED_BYTE : BYTES_PER_MODEL_BYTE)) / 1e6);
}
