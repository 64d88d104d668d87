/** From what a caller names a model by to its spec. */

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type Check, describeReceived, requireOptions, requireString } from '../../core/index.js';
import { packageFile } from '../../worker/internal.js';
import { ModelNotFoundError } from './model-errors.js';
import { type ModelFolderOptions, readModelFolder } from './model-folder.js';
import type { ModelSpec } from './model-spec.js';

/** A model in a folder, or on the hub, with what is to be taken of it. */
export interface ModelReference extends ModelFolderOptions {
  /** A folder, a hub name such as `Xenova/clip-vit-base-patch32`, or `'default'` (or its own name) for the model that comes with the package. */
  readonly from: string;
  /** For a hub name: the branch, tag or commit, `'main'` by default. A full commit hash pins the model. */
  readonly revision?: string | undefined;
  /** For a hub name: SHA-256 digests (hex) that files must have, by their path in the repository. */
  readonly digests?: Readonly<Record<string, string>> | undefined;
}

/** How a model can be named: a folder, a hub name, `'default'`, a reference with options, or a spec. */
export type ModelSource = string | ModelReference | ModelSpec;

/** Brings a model from the hub into a folder on this machine. */
export type FetchModel = (reference: ModelReference) => Promise<string>;

const DEFAULT_MODEL = '../models/mobilenet-v1-0.25';
const HUB_NAME = /^[\w][\w.-]*\/[\w][\w.-]*$/;

/** Checks how a model is named, before anything is opened. */
export function requireModelSource(action: string, source: unknown): ModelSource {
  if (typeof source === 'string') return requireString(action, 'model', source);
  if (typeof source !== 'object' || source === null) {
    throw new TypeError(
      `${action}: model must be a name, a folder, a reference or a spec, received ${describeReceived(source)}`,
    );
  }
  if (isSpec(source)) return source;
  const known = ['from', 'revision', 'digests', 'dtype', 'file', 'output'] as const;
  requireString(action, 'model.from', requireOptions<ModelReference>(action, source as ModelReference, known).from);
  return source as ModelReference;
}

/** The check of an option that names a model. */
export const modelSource: Check<ModelSource> = (action, _name, value) => requireModelSource(action, value);

/** A short name for a model without the folder that it lies in. Two sources may share one. */
export function labelOfSource(source: ModelSource): string {
  if (typeof source === 'string') return labelOf(source);
  if (isSpec(source)) return labelOf(source.name);
  const { from, ...rest } = source;
  return Object.keys(rest).length === 0 ? labelOf(from) : `${labelOf(from)} ${JSON.stringify(rest)}`;
}

function labelOf(name: string): string {
  return HUB_NAME.test(name) ? name : path.basename(name) || name;
}

/** What tells a source from others: the same for the same source. */
export function nameOfSource(source: ModelSource): string {
  if (typeof source === 'string') return source;
  if (isSpec(source)) return `${source.name} (${source.file})`;
  const { from, ...rest } = source;
  return Object.keys(rest).length === 0 ? from : `${from} ${JSON.stringify(rest)}`;
}

/**
 * Reads the spec of a model. What names an existing folder is that folder; otherwise `owner/name` is a name on the hub.
 *
 * @param source How the model is named.
 * @param fetchModel Brings it from the hub.
 * @param callersFolder What a relative folder is meant from; the working folder by default.
 * @param names Further names that models can be called by, for the message about one that is misspelt.
 */
export async function resolveModel(
  source: ModelSource,
  fetchModel: FetchModel,
  callersFolder: string = '',
  names: readonly string[] = [],
): Promise<ModelSpec> {
  if (typeof source === 'object' && isSpec(source)) return source;
  const reference = typeof source === 'string' ? { from: source } : (source as ModelReference);
  const { from, revision: _revision, digests: _digests, ...folderOptions } = reference;
  if (from === 'default') return await readModelFolder(packageFile(DEFAULT_MODEL), folderOptions);
  const folder = path.resolve(callersFolder, from);
  if (await exists(folder)) return await readModelFolder(folder, folderOptions);
  if (builtInNames.includes(from)) return await readModelFolder(packageFile(DEFAULT_MODEL), folderOptions);
  if (HUB_NAME.test(from)) {
    const spec = await readModelFolder(await fetchModel(reference), folderOptions);
    // A folder in the hub's cache is named by a commit; the model's own name says more.
    return { ...spec, name: from };
  }
  throw new ModelNotFoundError(
    `Cannot load model: ${folder} must be a folder, found nothing; ${nameHint(from, names)}`,
  );
}

function nameHint(name: string, more: readonly string[]): string {
  const names = [...builtInNames, ...more];
  const nearest = nearestName(name, names);
  const meant = nearest === undefined ? '' : `did you mean '${nearest}'? `;
  return `${meant}models that have a name: ${names.join(', ')}, and owner/name for one of the hub`;
}

function isSpec(source: object): source is ModelSpec {
  return 'preprocess' in source && 'file' in source;
}

async function exists(name: string): Promise<boolean> {
  return stat(name).then(
    () => true,
    () => false,
  );
}

/** The models that come with the package, by the names that they can be asked for. */
export const builtInNames: readonly string[] = ['default', 'mobilenet-v1-0.25'];

/**
 * The name that was meant, where one is misspelt, cut short or without its owner: at most a third of it differs. Undefined when none is near.
 */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
  const given = name.toLowerCase();
  let nearest: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const each of names) {
    const known = each.toLowerCase();
    const distance = Math.min(distanceTo(given, known), distanceTo(given, known.slice(known.indexOf('/') + 1)) + 1);
    if (distance < least) {
      least = distance;
      nearest = each;
    }
  }
  return nearest;
}

const LEAST_START = 4;

/** How far a name is from a known one, or from a start of it. */
function distanceTo(given: string, known: string): number {
  const row = editDistances(given, known);
  const whole = row[known.length] as number;
  return given.length < LEAST_START ? whole : Math.min(whole, Math.min(...row) + 1);
}

/**
 * How many characters have to be put in, taken out, replaced or swapped with the next to make of `a` each start of `b`, by its length (optimal string
 * alignment).
 */
function editDistances(a: string, b: string): number[] {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const now = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      now[column] = Math.min(
        (last[column] as number) + 1,
        (now[column - 1] as number) + 1,
        (last[column - 1] as number) + (isSame ? 0 : 1),
        isSwapped ? (before[column - 2] as number) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    before = last;
    last = now;
  }
  return last;
}
