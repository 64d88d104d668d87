/** What the commands on an index share: where it is, which model it is of, and the pool for it. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { isMillraceError } from '../../core/index.js';
import {
  createImageEmbeddingPool,
  type HubProgress,
  type ImageEmbeddingPool,
  identifyModel,
  type ModelIdentity,
  type ModelSource,
  type PreprocessMode,
} from '../../image-embedding/index.js';
import { builtInNames } from '../../image-embedding/internal.js';
import { type ImageIndex, type IndexModelSource, type OpenIndexOptions, openIndex } from '../../search/index.js';
import { describeFailure, modelError, UsageError } from '../errors.js';
import { withNearestModel } from './model-cache.js';
import { DEMO_FOLDER, type ModelChoice } from './options.js';

/** Where an index is when no option says it. */
export const DEFAULT_INDEX = 'millrace.idx';
/** The vectors that the demo writes, in its folder. */
export const DEMO_VECTORS = 'embeddings.jsonl';

/** Where to search: in the given index, in that of the working folder, or in what the demo wrote there. */
export async function indexToSearch(given: string | undefined): Promise<string> {
  if (given !== undefined) return given;
  const demo = path.join(DEMO_FOLDER, DEMO_VECTORS);
  for (const each of [DEFAULT_INDEX, demo]) if (await exists(each)) return each;
  return DEFAULT_INDEX;
}

async function exists(name: string): Promise<boolean> {
  return await stat(name).then(
    () => true,
    () => false,
  );
}

/** A run over many images waits its turn as long as it must; what hangs is still found out. */
const TIMEOUT_MS = 600_000;

/** Opens an index. @throws UsageError when that does not go. */
export async function openIndexFolder(folder: string, options?: OpenIndexOptions): Promise<ImageIndex> {
  try {
    return await openIndex(folder, options);
  } catch (error) {
    throw indexError(error, folder);
  }
}

/** The error for a faulty index, with its remedy. */
export function indexError(error: unknown, folder: string): unknown {
  if (!isMillraceError(error) || !error.code.startsWith('ERR_INDEX')) return error;
  const isOutput = /\.(jsonl|npy|parquet)$/i.test(folder);
  const advice: Readonly<Record<string, string>> = {
    ERR_INDEX_NOT_FOUND: isOutput
      ? `make it with: millrace embed <folders...> --out ${folder}`
      : `make it with: millrace index <folders...>${folder === DEFAULT_INDEX ? '' : ` --index ${folder}`}`,
    ERR_INDEX_LOCKED: 'wait until it is done, or search meanwhile',
    ERR_INDEX_MODEL: `make it anew with: millrace index <folders...> --index ${folder} --reindex`,
    ...(isOutput ? {} : { ERR_INDEX_CORRUPT: `remove ${folder} and make it anew` }),
  };
  const text = advice[error.code];
  return new UsageError(`${describeFailure(error)}${text === undefined ? '' : `; ${text}`}`, { cause: error });
}

/** A pool for the model of an index. */
export function createIndexPool(options: {
  readonly model: ModelSource | undefined;
  readonly workers?: number | undefined;
  readonly preprocess?: PreprocessMode | undefined;
  readonly allowPrivateUrls?: boolean | undefined;
  readonly onDownload?: (text: string) => void;
}): ImageEmbeddingPool {
  const { model, workers, preprocess, onDownload } = options;
  return createImageEmbeddingPool({
    ...(model === undefined ? {} : { model }),
    ...(workers === undefined ? {} : { workers }),
    ...(preprocess === undefined ? {} : { preprocess }),
    ...(onDownload === undefined ? {} : { hub: { onProgress: (progress) => onDownload(describeDownload(progress)) } }),
    limits: { url: { allowPrivateAddresses: options.allowPrivateUrls ?? false } },
    timeoutMs: TIMEOUT_MS,
    // Each picture is answered for itself, whatever became of those before it.
    breaker: false,
  });
}

/** Which model a pool has. @throws UsageError when it can't be used. */
export async function identifyPool(
  pool: ImageEmbeddingPool,
  name: string | undefined,
  preprocess: PreprocessMode,
): Promise<ModelIdentity> {
  try {
    return await identifyModel(await pool.describe(), { preprocess, normalize: true });
  } catch (error) {
    throw modelError(await withNearestModel(error, name));
  }
}

/**
 * The model that an index was made with; undefined for the built-in one.
 *
 * @throws UsageError when it does not say where that is.
 */
export function sourceOf({ source, model, folder }: ImageIndex): ModelSource | undefined {
  if (source !== undefined) return reference(source);
  if (model === undefined || builtInNames.includes(model.name)) return undefined;
  throw new UsageError(`Cannot use ${folder}: it does not say where its model ${model.name} is, give it with --model`);
}

/** How options name a model, for an index to keep: a folder is found from elsewhere, too. Undefined for the built-in one. */
export async function sourceOfChoice({ model, dtype, revision }: ModelChoice): Promise<IndexModelSource | undefined> {
  if (model === undefined && dtype === undefined) return undefined;
  const from = model ?? 'default';
  const isFolder = await stat(from).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return {
    from: isFolder ? path.resolve(from) : from,
    ...(dtype === undefined ? {} : { dtype }),
    ...(revision === undefined ? {} : { revision }),
  };
}

function reference({ from, dtype, revision }: IndexModelSource): ModelSource {
  if (dtype === undefined && revision === undefined) return from;
  return { from, ...(dtype === undefined ? {} : { dtype }), ...(revision === undefined ? {} : { revision }) };
}

/** A path as it is shown: relative where it is below the working folder. */
export function shownPath(file: string): string {
  const relative = path.relative('', file);
  return path.isAbsolute(file) && !relative.startsWith('..') && relative !== '' ? relative : file;
}

function describeDownload({ model, allReceivedBytes, allTotalBytes }: HubProgress): string {
  return `downloading ${model}  ${(allReceivedBytes / 1e6).toFixed(1)}/${(allTotalBytes / 1e6).toFixed(1)} MB`;
}
