import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { builtInNames, hubCacheFolder, nearestName } from '../../image-embedding/internal.js';
import { errorCode, modelError, UsageError } from '../errors.js';

/**
 * The folder of models from the hub, which every Hugging Face library shares.
 *
 * @throws Error When there is no home folder, and no variable names one.
 */
export async function cacheFolder(): Promise<string> {
  const folder = hubCacheFolder();
  if (folder === undefined) throw new Error('there is no home folder to have it in');
  return folder;
}

/** A model on this machine. */
export interface FoundModel {
  readonly name: string;
  readonly revision: string;
  readonly bytes: number;
  readonly files: readonly string[];
}

/** The models of the cache. Its layout is `models--<owner>--<name>/snapshots/<revision>/`, whose files are links to blobs. */
export async function cachedModels(folder: string): Promise<FoundModel[]> {
  const models: FoundModel[] = [];
  for (const entry of (await listFolder(folder)).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const [, owner, model] = /^models--(.+?)--(.+)$/.exec(entry.name) ?? [];
    // A model without an owner can't be loaded by name.
    if (owner === undefined || model === undefined) continue;
    const snapshots = path.join(folder, entry.name, 'snapshots');
    for (const { name: revision } of await listFolder(snapshots)) {
      const weighed = await weigh(path.join(snapshots, revision));
      if (weighed.files.length > 0)
        models.push({ name: `${owner}/${model}`, revision: revision.slice(0, 12), ...weighed });
    }
  }
  return models;
}

/** The ONNX files of a model, and the bytes of all its files. */
export async function weigh(folder: string): Promise<{ bytes: number; files: string[] }> {
  let bytes = 0;
  const files: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    const file = path.join(entry.parentPath, entry.name);
    const info = await stat(file).catch(() => undefined);
    if (!info?.isFile()) continue;
    bytes += info.size;
    if (entry.name.endsWith('.onnx')) files.push(path.relative(folder, file));
  }
  return { bytes, files: files.sort() };
}

export async function listFolder(folder: string): Promise<Dirent[]> {
  return await readdir(folder, { withFileTypes: true }).catch(() => []);
}

/** Adds the nearest name of a model on this machine to the error about one that is not found. */
export async function withNearestModel(error: unknown, model: string | undefined): Promise<unknown> {
  const failure = modelError(error);
  const isUnknown = /^ERR_MODEL_(NOT_FOUND|DOWNLOAD|OFFLINE)\b/.test(failure.message);
  if (model === undefined || !isUnknown || errorCode(error) === failure.code) return error;
  const cached = await cacheFolder()
    .then(cachedModels)
    .catch(() => []);
  const nearest = nearestName(model, [...builtInNames, ...cached.map(({ name }) => name)]);
  if (failure.message.includes('did you mean')) return error;
  const isNear = nearest !== undefined && nearest !== model;
  const hint = isNear ? `did you mean '${nearest}'?` : "'millrace models' lists those that are here";
  return new UsageError(`${failure.message}; ${hint}`, { cause: error });
}
