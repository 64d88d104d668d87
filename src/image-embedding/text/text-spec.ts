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
   * Whether a shorter text is filled up to `length`, though the graph would take it as it is. SigLIP and MobileCLIP were trained with full rows, all
   * of which count; CLIP sees nothing behind its first end token.
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

/** The files of a tower that say how a text is read; Immich has them beside it. */
export function tokenizerFilesOf(tower: string): readonly string[] {
  const names = ['tokenizer.json', 'tokenizer_config.json'];
  return tower.startsWith('textual/') ? [...names.map((name) => `textual/${name}`), ...names] : names;
}

/** Reads what a model's folder has for text; undefined when it has no text tower. */
export async function readTextSpec(model: ModelSpec): Promise<TextSpec | undefined> {
  const { name, file } = model;
  const root = rootOf(file);
  const names = await listFolder(root);
  const tower = textFileCandidates(dtypeOfFile(file)).find((each) => names.has(each));
  if (tower === undefined) return undefined;
  const tokenizer = tokenizerFilesOf(tower).find((each) => each.endsWith('tokenizer.json') && names.has(each));
  if (tokenizer === undefined) return undefined;
  const config = await readJson(path.join(root, 'config.json'));
  const tokenizerConfig = await readJson(path.join(root, tokenizer.replace('tokenizer.json', 'tokenizer_config.json')));
  return {
    name,
    file: path.join(root, tower),
    tokenizer: path.join(root, tokenizer),
    tokenizerConfig,
    ...readingOf(model, config, tokenizerConfig),
  };
}

type Json = Readonly<Record<string, unknown>>;

/** What a model's family does to a text. */
function readingOf(
  { name, family, preprocess }: ModelSpec,
  config: Json,
  { tokenizer_class: tokenizerClass }: Json,
): Pick<TextSpec, 'length' | 'isPadded' | 'isLowerCase' | 'isBare'> {
  const openClip = config.text_cfg === undefined ? undefined : (Object(config.text_cfg) as Json);
  const isSiglip = /siglip|gemma/i.test(
    `${family} ${tokenizerClass ?? ''} ${openClip === undefined ? '' : JSON.stringify(config)}`,
  );
  const length = lengthOf(config) ?? (isSiglip ? SIGLIP_LENGTH : CLIP_LENGTH);
  if (openClip !== undefined) {
    const { clean } = Object(openClip.tokenizer_kwargs) as Json;
    const isCanonical = clean === 'canonicalize' || (clean === undefined && isSiglip);
    return { length, isPadded: true, isLowerCase: isCanonical, isBare: isCanonical };
  }
  // MobileCLIP's attention sees the padding, too. Its configuration may say no more than CLIP's, but of the two it alone takes pixels as they are.
  const isMobileClip =
    /mobile_?clip/i.test(`${name} ${JSON.stringify(config)}`) || preprocess.mean.every((each) => each === 0);
  return {
    length,
    isPadded: isSiglip || isMobileClip || !/^clip/.test(family),
    isLowerCase: isSiglip,
    // SigLIP 2 reads text by Gemma's vocabulary, whose punctuation counts.
    isBare: isSiglip && !/gemma/i.test(String(tokenizerClass)),
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
function lengthOf(config: Json): number | undefined {
  const inner = Object(config.text_config ?? config.text_cfg) as Json;
  const length = inner.max_position_embeddings ?? inner.context_length;
  return Number.isSafeInteger(length) && (length as number) > 1 ? (length as number) : undefined;
}

async function readJson(file: string): Promise<Json> {
  try {
    return Object(JSON.parse(await readFile(file, 'utf8'))) as Json;
  } catch {
    return {};
  }
}
