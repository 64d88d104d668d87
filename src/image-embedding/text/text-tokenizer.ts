/** From a text to the numbers that a text tower takes: the tokenizer's, cut and filled as the model's authors do. */
import { readFile } from 'node:fs/promises';
import { ModelConfigError, ModelRuntimeMissingError } from '../model/model-errors.js';
import type { TextSpec } from './text-spec.js';

/** What a text became. */
export interface TokenRow {
  /** Of the text's own length, or filled. */
  readonly ids: readonly number[];
  /** How many of them are the text's. */
  readonly count: number;
}

/** What of the package is used. */
interface Tokenizer {
  encode(text: string): { readonly ids: number[] };
  token_to_id(token: string): number | undefined;
}

const PUNCTUATION = /[!-/:-@[-`{-~]/g;

export class TextTokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #spec: TextSpec;
  readonly padId: number;

  private constructor(tokenizer: Tokenizer, spec: TextSpec, padId: number) {
    this.#tokenizer = tokenizer;
    this.#spec = spec;
    this.padId = padId;
  }

  /** Reads a tokenizer. @throws ModelConfigError, ModelRuntimeMissingError */
  static async load(spec: TextSpec): Promise<TextTokenizer> {
    const { Tokenizer } = await import('@huggingface/tokenizers').catch((cause: unknown) => {
      throw new ModelRuntimeMissingError(
        'Cannot embed text: the optional package @huggingface/tokenizers could not be loaded, install it with npm install @huggingface/tokenizers',
        { cause },
      );
    });
    try {
      const json = JSON.parse(await readFile(spec.tokenizer, 'utf8')) as Record<string, unknown>;
      const tokenizer = new Tokenizer(json, spec.tokenizerConfig) as Tokenizer;
      return new TextTokenizer(tokenizer, spec, padIdOf(tokenizer, json, spec));
    } catch (cause) {
      throw new ModelConfigError(`Cannot read ${spec.tokenizer}: it is no tokenizer that is known`, { cause });
    }
  }

  /**
   * Reads a text. One that is too long is cut and keeps its last token, which ends it.
   *
   * @param length To which it is filled, where the graph takes nothing else.
   */
  encode(text: string, length?: number): TokenRow {
    const { ids } = this.#tokenizer.encode(this.#clean(text));
    const most = Math.min(this.#spec.length, length ?? Number.POSITIVE_INFINITY);
    const own = ids.length <= most ? ids : [...ids.slice(0, most - 1), ids.at(-1) as number];
    const full = length ?? (this.#spec.isPadded ? this.#spec.length : own.length);
    const padding = new Array<number>(full - own.length).fill(this.padId);
    return { ids: [...own, ...padding], count: own.length };
  }

  #clean(text: string): string {
    const { isLowerCase, isBare } = this.#spec;
    const cased = isLowerCase ? text.toLowerCase() : text;
    return isBare ? cased.replace(PUNCTUATION, '').replace(/\s+/g, ' ').trim() : cased;
  }
}

/** What fills a row: the tokenizer's own padding, else the token that the configuration names, else 0, as open_clip does. */
function padIdOf(tokenizer: Tokenizer, json: Readonly<Record<string, unknown>>, { tokenizerConfig }: TextSpec): number {
  const { pad_token: named } = tokenizerConfig;
  const token = typeof named === 'object' && named !== null ? (named as { content?: unknown }).content : named;
  const byName = typeof token === 'string' ? tokenizer.token_to_id(token) : undefined;
  const { pad_id: id } = (json.padding ?? {}) as { readonly pad_id?: unknown };
  return byName ?? (typeof id === 'number' ? id : 0);
}
