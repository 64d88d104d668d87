/** Prepares a model for this machine, once for all processes and all times. */

import path from 'node:path';
import {
  fillOptions,
  group,
  type OptionTable,
  option,
  requireBoolean,
  requirePositiveInteger,
  requireString,
} from '../../core/index.js';
import { operation, spawnWorker } from '../../worker/index.js';
import { packageUrl } from '../../worker/internal.js';
import { withFileLock } from '../file-lock.js';
import { fetchModel } from '../hub/fetch-model.js';
import { HUB_OPTIONS, type HubOptions, withEnvironment } from '../hub/hub-options.js';
import { isOnCpu, type SessionOptions } from '../inference/session.js';
import type { ModelSpec } from '../model/model-spec.js';
import { type ModelSource, requireModelSource, resolveModel } from '../model/resolve-model.js';
import { modelBytes } from '../model/weights.js';
import type { PrepareInput, PrepareOperations } from './prepare-module.js';
import {
  defaultPreparedFolder,
  findPrepared,
  type PreparedCache,
  preparedKey,
  verifyPrepared,
  writePrepared,
} from './prepared-cache.js';

/** How models are prepared. */
export interface PrepareOptions {
  /** Where prepared models are kept; `XDG_CACHE_HOME/millrace/prepared` by default. */
  readonly cacheDir?: string | undefined;
  /** How many bytes of them; the longest unused go first. 20 GB by default. */
  readonly maxBytes?: number | undefined;
  /** Models below this size are loaded as they are, which takes them no longer. 16 MB by default. */
  readonly minBytes?: number | undefined;
}

/** Prepare options, checked and filled. The default of `cacheDir` is looked up when a model is prepared. */
export interface PrepareSettings {
  readonly cacheDir: string | undefined;
  readonly maxBytes: number;
  readonly minBytes: number;
}

const PREPARE_OPTIONS = {
  cacheDir: option((action, name, value) => path.resolve(requireString(action, name, value))),
  maxBytes: option(requirePositiveInteger, 20e9),
  minBytes: option(requirePositiveInteger, 16e6),
} satisfies OptionTable<PrepareOptions>;

/** Options of {@link prepareModel}. */
export interface PrepareModelOptions extends PrepareOptions {
  /** How a model that is named on the hub is brought from there. */
  readonly hub?: HubOptions | undefined;
  /** Whether what was prepared earlier is held against its digests, all of it, and made again when it differs. False by default. */
  readonly verify?: boolean | undefined;
}

const PREPARE_MODEL_OPTIONS = {
  ...PREPARE_OPTIONS,
  hub: group(HUB_OPTIONS),
  verify: option(requireBoolean, false),
} satisfies OptionTable<PrepareModelOptions>;

/** What {@link prepareModel} did. */
export interface PreparedModel {
  readonly spec: ModelSpec;
  /** The folder of the prepared model; undefined when it is too small to be worth it, or can't be prepared. */
  readonly folder: string | undefined;
  /** Whether it is too small to be worth it: loaded as it is, it is there as fast. */
  readonly isSmall: boolean;
  /** Whether what was there was whole; undefined when it was not asked for, or nothing was there. */
  readonly isVerified: boolean | undefined;
}

/**
 * Brings a model onto this machine and prepares it, ahead of the first pool that uses it: optimised, with its weights laid out for this CPU in a
 * file that all workers map. Pools do the same when they first use a model.
 *
 * **Cancel safety:** takes no signal.
 *
 * @param source A folder, a hub name, `'default'`, a reference or a spec.
 * @param options See {@link PrepareModelOptions}.
 * @returns The model's spec, and where the prepared model lies.
 * @throws ModelNotFoundError, ModelDownloadError, ... The model is unusable.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const { spec, folder } = await prepareModel('default');
 * spec.family; // => 'mobilenet_v1'
 * folder; // => undefined
 * ```
 */
export async function prepareModel(source: ModelSource, options?: PrepareModelOptions): Promise<PreparedModel> {
  const action = 'Cannot prepare model';
  const { hub, verify, ...settings } = fillOptions(action, options, PREPARE_MODEL_OPTIONS);
  const hubSettings = withEnvironment(hub);
  const spec = await resolveModel(requireModelSource(action, source), (reference) =>
    fetchModel(reference, hubSettings, undefined),
  );
  const isSmall = (await modelBytes(spec.file)) < settings.minBytes;
  const isVerified = verify ? await verifyPreparedFile(spec.file, settings) : undefined;
  const folder = await prepareFile(spec, {}, settings, { isForced: isVerified === false });
  return { spec, folder, isSmall, isVerified };
}

/** How {@link prepareFile} goes about it. */
export interface PrepareFileOptions {
  /** Whether it is made again though it is there. */
  readonly isForced?: boolean | undefined;
  /** Gives it up; a process that prepares the model is ended. */
  readonly signal?: AbortSignal | undefined;
}

const TIMEOUT_MS = 600_000;

/** Checks the option of a pool and fills it; undefined when models are not to be prepared. */
export function requirePrepareOption(
  action: string,
  option: PrepareOptions | 'auto' | 'off' | undefined,
): PrepareSettings | undefined {
  if (option === 'off') return undefined;
  if (typeof option === 'string' && option !== 'auto') {
    throw new RangeError(`${action}: prepare must be 'auto', 'off' or an object, received '${option as string}'`);
  }
  return requirePrepareOptions(action, option === 'auto' ? undefined : option);
}

/** Checks prepare options and fills them. */
export function requirePrepareOptions(action: string, options: PrepareOptions | undefined): PrepareSettings {
  return fillOptions(action, options, PREPARE_OPTIONS, 'prepare');
}

/** Where prepared models are kept; undefined where there is no place for them. */
function cacheOf({ cacheDir, maxBytes }: PrepareSettings): PreparedCache | undefined {
  const folder = cacheDir ?? defaultPreparedFolder();
  return folder === undefined ? undefined : { folder: path.resolve(folder), maxBytes };
}

/** Whether a session of these options can use a prepared model: one for the CPU, optimised as usual. */
function isPreparable(options: SessionOptions): boolean {
  const { graphOptimizationLevel, extra } = options;
  return isOnCpu(options) && (graphOptimizationLevel ?? 'all') === 'all' && extra === undefined;
}

/**
 * Returns the folder of a model prepared for this machine, and prepares it first if needed: optimised, with weights laid out for this CPU in a
 * file that all processes map, so that any number of workers hold one copy and start in a fraction of the time.
 *
 * Before it is used it is held against the model itself, by what both make of a picture of noise. Racing processes prepare it once. What was damaged is made again. Where it can't be prepared, a warning says why.
 *
 * @param spec The model.
 * @param session The options that it will be run with.
 * @param settings See {@link PrepareOptions}.
 * @param options See {@link PrepareFileOptions}.
 * @returns The folder; undefined when the model is to be loaded as it is.
 * @throws The reason of the signal.
 */
export async function prepareFile(
  spec: ModelSpec,
  session: SessionOptions,
  settings: PrepareSettings,
  { isForced = false, signal }: PrepareFileOptions = {},
): Promise<string | undefined> {
  if (!isPreparable(session)) return undefined;
  const { file } = spec;
  try {
    if ((await modelBytes(file)) < settings.minBytes) return undefined;
    const cache = cacheOf(settings);
    if (cache === undefined) {
      throw new Error('there is no home folder to keep it in, set XDG_CACHE_HOME or prepare.cacheDir');
    }
    const key = await preparedKey(cache, file);
    const found = isForced ? undefined : await findPrepared(cache, key);
    if (found !== undefined) return found;
    return await withFileLock(path.join(cache.folder, key), signal, async () => {
      const made = isForced ? undefined : await findPrepared(cache, key);
      return made ?? (await writePrepared(cache, key, (folder) => prepareInto({ spec, folder }, signal)));
    });
  } catch (error) {
    signal?.throwIfAborted();
    process.emitWarning(`${file} could not be prepared and is loaded as it is: ${String(error)}`, 'MillraceWarning');
    return undefined;
  }
}

/** Checks a prepared model against the digests that were taken when it was written; reads all of it. Undefined when there is none. */
export async function verifyPreparedFile(file: string, settings: PrepareSettings): Promise<boolean | undefined> {
  const cache = cacheOf(settings);
  if (cache === undefined) return undefined;
  const folder = await findPrepared(cache, await preparedKey(cache, file));
  return folder === undefined ? undefined : await verifyPrepared(folder);
}

/** In a process of its own: onnxruntime gives the memory back only with that. */
async function prepareInto(input: PrepareInput, signal: AbortSignal | undefined): Promise<void> {
  const worker = spawnWorker<PrepareOperations>({
    host: 'process',
    module: packageUrl('image-embedding/prepare/prepare-module.js'),
    operations: { prepare: operation<PrepareInput, void>() },
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    stdio: 'ignore',
  });
  try {
    await worker.call('prepare', input, { timeoutMs: TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) });
  } finally {
    await worker.destroy();
  }
}
