/**
 * Reads a model folder: `config.json`, the preprocessing and an ONNX file, in the Hugging Face layout (`onnx/`) or in Immich's (`visual/` and
 * `textual/`).
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { fillOptions, group, type OptionTable, oneOf, option, requireString } from '../../core/index.js';
import type { PreprocessMode } from '../decode/preprocessor.js';
import type { ModelDescription } from '../operations.js';
import { ModelConfigError, ModelNotFoundError } from './model-errors.js';
import { freeze, type ModelSpec, OUTPUT_OPTIONS, type OutputSpec } from './model-spec.js';
import { openClipPreprocessing, readOpenClipConfig } from './open-clip-config.js';
import { type Preprocessing, readPreprocessorConfig } from './preprocessor-config.js';
import { isLfsPointer, weightFiles } from './weights.js';

/** The number formats that model folders carry, by transformers.js's names, with the ending that their files have. */
const SUFFIXES = {
  fp32: '',
  fp16: '_fp16',
  q8: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4: '_q4',
  q4f16: '_q4f16',
  bnb4: '_bnb4',
} as const;

/** The number format of a model's weights: `'fp32'` is the plain file, `'q8'` the `_quantized` one, and so on. */
export type ModelDtype = keyof typeof SUFFIXES;

/** Every {@link ModelDtype}. */
export const modelDtypes: readonly ModelDtype[] = Object.keys(SUFFIXES) as ModelDtype[];

/** The format that the name of a file says; undefined for a name of its own. */
export function dtypeOfFile(file: string): ModelDtype | undefined {
  const name = path.basename(file);
  return modelDtypes.find((dtype) => STEMS.some((stem) => name === `${stem}${SUFFIXES[dtype]}.onnx`));
}

/** Options of {@link readModelFolder}. */
export interface ModelFolderOptions {
  /** Which of the folder's files: `'auto'` (the default) takes `fp32`, or else the first there is of the others. */
  readonly dtype?: ModelDtype | 'auto' | undefined;
  /** The ONNX file inside the folder, such as `onnx/encoder.onnx`, where it has a name of its own. */
  readonly file?: string | undefined;
  /** Which output is the embedding. */
  readonly output?: OutputSpec | undefined;
}

const FOLDER_OPTIONS = {
  dtype: option(oneOf(['auto', ...modelDtypes]), 'auto'),
  file: option(requireString),
  output: group(OUTPUT_OPTIONS),
} satisfies OptionTable<ModelFolderOptions>;

const STEMS = ['vision_model', 'model'] as const;
/** The picture tower in Immich's layout, and where its preprocessing is. */
const OPEN_CLIP_FILE = 'visual/model.onnx';
/**
 * Where the preprocessing of a model may be, best first; transformers 5 writes the second, with all of a model's processors in it, and open_clip
 * the third.
 */
export const preprocessorFiles: readonly string[] = [
  'preprocessor_config.json',
  'processor_config.json',
  openClipPreprocessing,
];
/** The folders inside a model's folder that are looked into. */
export const modelSubfolders: readonly string[] = ['onnx', 'visual'];

const MAX_CONFIG_BYTES = 4_000_000;

/** The places where a folder may have the ONNX file of a format, best first: `onnx/vision_model_fp16.onnx`, `onnx/model_fp16.onnx`, ... */
export function modelFileCandidates(dtype: ModelDtype): readonly string[] {
  const named = ['onnx/', ''].flatMap((folder) => STEMS.map((stem) => `${folder}${stem}${SUFFIXES[dtype]}.onnx`));
  return dtype === 'fp32' ? [...named, OPEN_CLIP_FILE] : named;
}

/**
 * Reads a model folder: which file, what preprocessing, which output.
 *
 * Only its JSON files are opened; the ONNX file is opened by the worker that loads it.
 *
 * @param folder The folder.
 * @param options See {@link ModelFolderOptions}.
 * @returns The spec, to be given as `model` to {@link createImageEmbeddingPool}.
 * @throws ModelNotFoundError When the folder, its ONNX file or its configuration is missing; ModelConfigError when a file says what can't be;
 *   ModelUnsupportedError when it asks for preprocessing that is not known.
 */
export async function readModelFolder(folder: string, options?: ModelFolderOptions): Promise<ModelSpec> {
  const action = 'Cannot read model folder';
  const { dtype, file: wanted, output } = fillOptions(action, options, FOLDER_OPTIONS);
  const root = path.resolve(requireString(action, 'folder', folder));
  const names = await listModelFolder(root);
  const file = pickFile(root, names, dtype, wanted);
  const config = names.has('config.json') ? await readJson(path.join(root, 'config.json')) : {};
  const { spec, channels } = await readPreprocessing(root, names, file);
  return freeze({
    name: path.basename(root),
    file: path.join(root, file),
    family: familyOf(config),
    preprocess: spec,
    channels,
    output,
    dimensions: matryoshka(config),
  });
}

/** The model type; open_clip's configuration has two towers instead. */
function familyOf({ model_type: type, vision_cfg: tower }: Readonly<Record<string, unknown>>): string {
  if (typeof type === 'string') return type;
  return typeof tower === 'object' && tower !== null ? 'open_clip' : 'unknown';
}

async function readPreprocessing(root: string, names: ReadonlySet<string>, file: string): Promise<Preprocessing> {
  const [own, shared, openClip] = preprocessorFiles.map((name) => path.join(root, name)) as [string, string, string];
  if (path.dirname(file) === 'visual' && names.has(openClipPreprocessing)) {
    return readOpenClipConfig(await readJson(openClip), openClip);
  }
  if (names.has('preprocessor_config.json')) return readPreprocessorConfig(await readJson(own), own);
  const all = names.has('processor_config.json') ? await readJson(shared) : {};
  const { image_processor: nested } = all;
  if (typeof nested === 'object' && nested !== null && !Array.isArray(nested)) {
    return readPreprocessorConfig(nested as Record<string, unknown>, shared);
  }
  throw new ModelNotFoundError(
    `Cannot load model: ${root} must hold a preprocessor_config.json, or a processor_config.json with image_processor, found ${names.has('processor_config.json') ? 'one without' : 'none'}`,
  );
}

async function listModelFolder(root: string): Promise<Set<string>> {
  let names: string[];
  try {
    names = await readdir(root);
  } catch (cause) {
    const found = (cause as NodeJS.ErrnoException).code === 'ENOTDIR' ? 'a file' : 'nothing';
    throw new ModelNotFoundError(`Cannot load model: ${root} must be a folder, found ${found}`, { cause });
  }
  const inner = await Promise.all(
    modelSubfolders
      .filter((folder) => names.includes(folder))
      .map(async (folder) =>
        (await readdir(path.join(root, folder)).catch(() => [])).map((name) => `${folder}/${name}`),
      ),
  );
  return new Set([...names, ...inner.flat()]);
}

function pickFile(
  root: string,
  names: ReadonlySet<string>,
  dtype: ModelDtype | 'auto',
  file: string | undefined,
): string {
  if (file !== undefined) {
    const inside = path.relative(root, path.resolve(root, file));
    if (inside.startsWith('..') || path.isAbsolute(inside)) {
      throw new RangeError(`Cannot read model folder: file must lie inside the folder, received '${file}'`);
    }
    return inside;
  }
  const candidates = (dtype === 'auto' ? modelDtypes : [dtype]).flatMap(modelFileCandidates);
  const found = candidates.find((name) => names.has(name));
  if (found !== undefined) return found;
  const there = [...names].filter((name) => name.endsWith('.onnx'));
  throw new ModelNotFoundError(
    `Cannot load model: ${root} must hold ${dtype === 'auto' ? 'an ONNX file' : `a ${dtype} ONNX file`} such as ${candidates[1]}, found ${there.length === 0 ? 'none' : there.join(', ')}`,
  );
}

async function readJson(file: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > MAX_CONFIG_BYTES) throw new ModelConfigError(`Cannot read ${file}: it is ${size} bytes long`);
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (cause instanceof ModelConfigError) throw cause;
    throw new ModelNotFoundError(`Cannot load model: ${file} could not be read`, { cause });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    const found = isLfsPointer(text) ? ', found a pointer of Git LFS: bring the file itself with git lfs pull' : '';
    throw new ModelConfigError(`Cannot read ${file}: it must be JSON${found}`, { cause });
  }
  throw new ModelConfigError(`Cannot read ${file}: it must be a JSON object`);
}

/** The lengths that a model trained for shortening (Matryoshka representations) names in its configuration. */
function matryoshka(config: Readonly<Record<string, unknown>>): readonly number[] {
  const named = config.matryoshka_dimensions ?? config.matryoshka_dims;
  if (!Array.isArray(named)) return [];
  const numbers = named.filter((each): each is number => Number.isSafeInteger(each) && each > 0);
  return [...new Set(numbers)].sort((a, b) => b - a);
}

/** What vectors were made with. Two of the same digest, mode, scaling and length can be compared, whatever the model is called. */
export interface ModelIdentity {
  readonly name: string;
  /** The commit of a model from the hub. */
  readonly revision?: string | undefined;
  /** Of the model's weights and of what is done to an image before and after it: 32 hex digits of a SHA-256. */
  readonly digest: string;
  /** The number format, where the name of the file says it. */
  readonly dtype?: ModelDtype | undefined;
  readonly preprocess: PreprocessMode;
  /** Whether vectors are scaled to length 1. */
  readonly normalized: boolean;
  /** The length of a vector. */
  readonly dimensions: number;
}

/**
 * Says which space vectors are of: what an index needs to refuse those of another model. Reads the model's files, if the hub's cache does not name
 * them by their content.
 *
 * @param model What {@link ImageEmbeddingPool.describe} says of it.
 * @param options How the pool prepares pictures, and whether its vectors are scaled to length 1.
 */
export async function identifyModel(
  model: ModelDescription,
  { preprocess, normalize }: { readonly preprocess: PreprocessMode; readonly normalize: boolean },
): Promise<ModelIdentity> {
  const files = [model.file, ...(await weightFiles(model.file))];
  const contents = await Promise.all(files.map(contentDigest));
  const { name, pooling } = model.output;
  const what = { contents, preprocess: model.preprocess, channels: model.channels, output: { name, pooling } };
  const [, revision] = /[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]/.exec(model.file) ?? [];
  const dtype = dtypeOfFile(model.file);
  return {
    name: model.name,
    ...(revision === undefined ? {} : { revision }),
    digest: createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 32),
    ...(dtype === undefined ? {} : { dtype }),
    preprocess,
    normalized: normalize,
    dimensions: model.dimension,
  };
}

/** The SHA-256 of a file. A blob of the hub's cache is called by it. */
async function contentDigest(file: string): Promise<string> {
  const name = path.basename(await realpath(file));
  if (/^[0-9a-f]{64}$/.test(name)) return name;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
