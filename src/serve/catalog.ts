/** The models that a server has, by the names that requests may use. Requests choose among them and name no others. */
import type { ModelDescription } from '../image-embedding/index.js';
import { Refusal } from './http/refusal.js';
import type { ServePool } from './serve-pool.js';

/** A served model. */
export interface ServedModel {
  /** The name that answers carry. */
  readonly name: string;
  /** What the pool calls it; undefined for the pool's own. */
  readonly source: string | undefined;
}

/** What names a server knows. */
export interface CatalogOptions {
  /** The public name of the pool's own model. */
  readonly model: string;
  /** Further models: names out of the pool's `models`. */
  readonly models: readonly string[];
  /** Further names of those; `*` is for every other name. */
  readonly aliases: Readonly<Record<string, string>>;
}

/** The models of a server. */
export class Catalog {
  readonly models: readonly ServedModel[];
  readonly #pool: ServePool;
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #byName: ReadonlyMap<string, ServedModel>;
  readonly #descriptions = new Map<ServedModel, ModelDescription>();
  readonly #withoutText = new Set<ServedModel>();

  constructor(pool: ServePool, { model, models, aliases }: CatalogOptions) {
    this.#pool = pool;
    this.models = [{ name: model, source: undefined }, ...models.map((name) => ({ name, source: name }))];
    this.#byName = new Map(this.models.map((each) => [each.name, each]));
    this.#aliases = new Map(Object.entries(aliases));
  }

  get main(): ServedModel {
    return this.models[0] as ServedModel;
  }

  /** The aliases of a model. */
  aliasesOf(model: ServedModel): string[] {
    return [...this.#aliases].filter(([, name]) => name === model.name).map(([alias]) => alias);
  }

  /**
   * The model of a name; the main one without a name.
   *
   * @param param Where the name stands in the request.
   */
  find(name: string | null | undefined, param: string = 'model'): ServedModel {
    if (name === undefined || name === null || name === '') return this.main;
    const found = this.#lookUp(name) ?? this.#lookUp(name.replace(/:latest$/, '')) ?? this.#lookUp('*');
    if (found !== undefined) return found;
    const names = this.models.map((each) => each.name).join(', ');
    throw new Refusal('model-unknown', `The model '${name.slice(0, 100)}' is not served here, known are: ${names}`, {
      param,
      code: 'model_not_found',
    });
  }

  /** What a model is; asked of a worker once, which loads it. */
  async describe(model: ServedModel, signal?: AbortSignal): Promise<ModelDescription> {
    const known = this.#descriptions.get(model);
    if (known !== undefined) return known;
    const description = await this.#pool.describe(model.source, signal === undefined ? {} : { signal });
    this.#descriptions.set(model, description);
    return description;
  }

  /** The description of a model that a worker has given already. */
  known(model: ServedModel): ModelDescription | undefined {
    return this.#descriptions.get(model);
  }

  /** Whether texts are embedded by a model, as far as is known: only a text that was tried tells that they are not. */
  readsText(model: ServedModel): boolean {
    return !this.#withoutText.has(model);
  }

  /** A text was tried, and the model has nothing for it. */
  noteWithoutText(model: ServedModel): void {
    this.#withoutText.add(model);
  }

  #lookUp(name: string): ServedModel | undefined {
    return this.#byName.get(name) ?? this.#byName.get(this.#aliases.get(name) ?? '');
  }
}
