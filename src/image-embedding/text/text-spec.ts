/** A model's text tower as one plain record: which file, which tokenizer, and what its family does to a text before it goes in. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { dtypeOfFile, type ModelDtype, modelDtypes } from '../model/model-folder.js';
import type { ModelSpec } from '../model/model-spec.js';

/** Everything that is needed to load a text tower and feed it; it crosses to the child process as it is. */
export interface TextSpec {
  readonly name: string;
  /** The absolute path of the ONNX file. */
  readonly file: string;
  /** The absolute path of `tokenizer.json`. */
  readonly tokenizer: string;
  /** What `tokenizer_config.json` says; empty where there is none. */
  readonly tokenizerConfig: Readonly<Record<string, unknown>>;
  /** The most tokens. */
  readonly length: number;
  /**
   * Whether a shorter text is filled up to `length`, though the graph would take it as it is. SigLIP reads its last position, so it was trained with
   * full rows; CLIP reads its first end token.
   */
  readonly isPadded: boolean;
  readonly isLowerCase: boolean;
  /** Whether punctuation is taken out, as SigLIP's own tokenizer does and its `tokenizer.json` may not. */
  readonly isBare: boolean;
}

const SUFFIXES: Readonly<Record<ModelDtype, string>> = {
  fp32: '',
  fp16: '_fp16',
  q8: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4: '_q4',
  q4f16: '_q4f16',
  bnb4: '_bnb4',
};

const CLIP_LENGTH = 77;
const SIGLIP_LENGTH = 64;

/**
 * The places where a folder may have its text tower, best first: in the number format of the picture tower, then in any other.
 *
 * @param dtype The picture tower's.
 */
export function textFileCandidates(dtype: ModelDtype | undefined): readonly string[] {
  const dtypes = [...(dtype === undefined ? [] : [dtype]), ...modelDtypes];
  const names = [...new Set(dtypes)].map((each) => `text_model${SUFFIXES[each]}.onnx`);
  return [...names.map((name) => `onnx/${name}`), ...names, 'textual/model.onnx'];
}

/** The files beside the tower that say how a text is read. */
export const tokenizerFiles: readonly string[] = ['tokenizer.json', 'tokenizer_config.json'];

/** Reads what a model's folder has for text; undefined when it has no text tower. */
export async function readTextSpec({ name, file, family }: ModelSpec): Promise<TextSpec | undefined> {
  const root = rootOf(file);
  const names = await listFolder(root);
  const tower = textFileCandidates(dtypeOfFile(file)).find((each) => names.has(each));
  if (tower === undefined) return undefined;
  const folder = tower.startsWith('textual/') ? 'textual/' : '';
  const tokenizer = [`${folder}tokenizer.json`, 'tokenizer.json'].find((each) => names.has(each));
  if (tokenizer === undefined) return undefined;
  const config = await readJson(path.join(root, 'config.json'));
  const tokenizerConfig = await readJson(path.join(root, tokenizer.replace('tokenizer.json', 'tokenizer_config.json')));
  const kind = `${family} ${String(tokenizerConfig.tokenizer_class ?? '')} ${JSON.stringify(config.text_cfg ?? '')}`;
  const isSiglip = /siglip|gemma/i.test(kind);
  return {
    name,
    file: path.join(root, tower),
    tokenizer: path.join(root, tokenizer),
    tokenizerConfig,
    length: lengthOf(config) ?? (isSiglip ? SIGLIP_LENGTH : CLIP_LENGTH),
    isPadded: isSiglip,
    isLowerCase: isSiglip,
    // SigLIP 2 reads text by Gemma's vocabulary, whose punctuation counts.
    isBare: isSiglip && !/gemma/i.test(kind),
  };
}

/** A model's own folder: its ONNX file may be in `onnx/` or `visual/`. */
function rootOf(file: string): string {
  const folder = path.dirname(file);
  return ['onnx', 'visual'].includes(path.basename(folder)) ? path.dirname(folder) : folder;
}

async function listFolder(root: string): Promise<ReadonlySet<string>> {
  const list = async (folder: string): Promise<string[]> =>
    (await readdir(path.join(root, folder)).catch(() => [])).map((name) => `${folder}${name}`);
  return new Set([...(await list('')), ...(await list('onnx/')), ...(await list('textual/'))]);
}

/** The most tokens, by the names that Hugging Face and open_clip have for it. */
function lengthOf(config: Readonly<Record<string, unknown>>): number | undefined {
  const inner = (config.text_config ?? config.text_cfg ?? {}) as Readonly<Record<string, unknown>>;
  const length = inner.max_position_embeddings ?? inner.context_length;
  return Number.isSafeInteger(length) && (length as number) > 1 ? (length as number) : undefined;
}

async function readJson(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return Object(JSON.parse(await readFile(file, 'utf8'))) as Record<string, unknown>;
  } catch {
    return {};
  }
}
