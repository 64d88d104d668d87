import { requireBoolean, requireOptions } from '../../core/index.js';
import { fetchModel } from '../hub/fetch-model.js';
import { type HubOptions, requireHubOptions } from '../hub/hub-options.js';
import { modelBytes } from '../model/external-weights.js';
import type { ModelSpec } from '../model/model-spec.js';
import { type ModelSource, requireModelSource, resolveModel } from '../model/resolve-model.js';
import { type PrepareOptions, prepareFile, requirePrepareOptions, verifyPreparedFile } from './prepare-model.js';

/** Options of {@link prepareModel}. */
export interface PrepareModelOptions extends PrepareOptions {
  /** How a model that is named on the hub is brought from there. */
  readonly hub?: HubOptions | undefined;
  /** Whether what was prepared earlier is held against its digests, all of it, and made again when it differs. False by default. */
  readonly verify?: boolean | undefined;
}

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
  const given = requireOptions<PrepareModelOptions>(action, options, [
    'hub',
    'verify',
    'cacheDir',
    'maxBytes',
    'minBytes',
  ]);
  const { hub, verify, ...rest } = given;
  const wantsVerification = verify === undefined ? false : requireBoolean(action, 'verify', verify);
  const hubSettings = requireHubOptions(action, hub);
  const settings = requirePrepareOptions(action, rest);
  const spec = await resolveModel(requireModelSource(action, source), (reference) =>
    fetchModel(reference, hubSettings, undefined),
  );
  const isSmall = (await modelBytes(spec.file)) < settings.minBytes;
  const isVerified = wantsVerification ? await verifyPreparedFile(spec.file, settings) : undefined;
  const folder = await prepareFile(spec, {}, settings, { isForced: isVerified === false });
  return { spec, folder, isSmall, isVerified };
}
