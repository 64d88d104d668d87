/** Brings a model from the hub into its cache, and answers the folder. */
import { readdir, statfs } from 'node:fs/promises';
import path from 'node:path';
import { isMillraceError } from '../../core/index.js';
import { withFileLock } from '../file-lock.js';
import { ModelDigestError, ModelDownloadError, ModelNotFoundError, ModelOfflineError } from '../model/model-errors.js';
import {
  dtypeOfFile,
  type ModelDtype,
  modelDtypes,
  modelFileCandidates,
  modelSubfolders,
  preprocessorFiles,
} from '../model/model-folder.js';
import type { ModelReference } from '../model/resolve-model.js';
import { weightFiles } from '../model/weights.js';
import { textFileCandidates, tokenizerFilesOf } from '../text/text-spec.js';
import { downloadBlob, partOf } from './download-blob.js';
import { askCommitOf, listFilesOf } from './hub-api.js';
import {
  hasDigest,
  isInSnapshot,
  linkIntoSnapshot,
  type RepositoryCache,
  type RepositoryFile,
  readRef,
  repositoryCache,
  sizeOf,
  writeRef,
} from './hub-cache.js';
import { HubClient, PassingError, reasonOf } from './hub-client.js';
import { type HubSettings, hubCacheFolder } from './hub-options.js';

const COMMIT = /^[0-9a-f]{40}$/;
const DIGEST = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
const REVISION = /^[\w][\w./-]*$/;
const PROGRESS_MS = 100;

/**
 * Brings a model from the hub.
 *
 * A commit that is complete in the cache is used without a question to the network. Where the hub can't be reached, the commit that the branch
 * stood for last is.
 *
 * @returns The model's folder in the cache.
 * @throws ModelNotFoundError, ModelDownloadError, ModelDigestError, ModelOfflineError
 */
export async function fetchModel(
  reference: ModelReference,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { from: name, revision = 'main' } = reference;
  if (!REVISION.test(revision) || revision.includes('..')) {
    throw new RangeError(`Cannot use model: revision must be a branch, a tag or a commit, received '${revision}'`);
  }
  const cacheDir = settings.cacheDir ?? hubCacheFolder();
  if (cacheDir === undefined) {
    throw new ModelDownloadError(
      `Cannot use model: ${name} needs a cache, and there is no home folder to have it in: set HF_HOME or hub.cacheDir`,
    );
  }
  const cache = repositoryCache(cacheDir, name);
  try {
    return await bring(reference, cache, settings, signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (isMillraceError(error) || typeof (error as NodeJS.ErrnoException).code !== 'string') throw error;
    throw new ModelDownloadError(`Cannot download ${name} into ${cache.root}: ${reasonOf(error)}`, { cause: error });
  }
}

async function bring(
  reference: ModelReference,
  cache: RepositoryCache,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { from: name, revision = 'main' } = reference;
  const known = COMMIT.test(revision) ? revision : await readRef(cache, revision);
  const hasKnown = known !== undefined && (await isComplete(cache.snapshot(known), reference));
  if (settings.offline && !hasKnown) {
    throw new ModelOfflineError(
      `Cannot use model: ${name} (${revision}) is not in the cache ${cache.root}, and downloads are turned off`,
    );
  }
  if (hasKnown && (settings.offline || known === revision)) {
    return verified(cache.snapshot(known), reference);
  }
  let commit: string;
  try {
    // A model that is in the cache does not wait for a hub that does not answer.
    const client = await HubClient.create(settings, signal, hasKnown ? 0 : undefined);
    commit = COMMIT.test(revision) ? revision : await askCommit(name, revision, client);
  } catch (error) {
    // The hub is out of reach: what the branch stood for last will do.
    if (hasKnown && isMillraceError(error, 'ERR_MODEL_DOWNLOAD')) return verified(cache.snapshot(known), reference);
    throw error;
  }
  // What was complete a moment ago is: a commit does not change.
  if (!(hasKnown && commit === known)) {
    await download(reference, commit, cache, await HubClient.create(settings, signal), settings.onProgress);
  }
  if (commit !== revision && commit !== (await readRef(cache, revision))) {
    // A cache that can't be written has all that is needed by now.
    await writeRef(cache, revision, commit).catch(() => undefined);
  }
  return verified(cache.snapshot(commit), reference);
}

/** Whether a snapshot has all that reading and loading it will ask for. */
async function isComplete(snapshot: string, reference: ModelReference): Promise<boolean> {
  const names = await snapshotFiles(snapshot);
  const onnx = pickOnnx(names, reference);
  if (onnx === undefined || !preprocessorFiles.some((each) => names.has(each))) return false;
  const weights = await weightFiles(path.join(snapshot, onnx));
  const sizes = await Promise.all(weights.map(sizeOf));
  return sizes.every((size) => size !== undefined);
}

async function snapshotFiles(snapshot: string): Promise<Set<string>> {
  const top = await readdir(snapshot).catch(() => []);
  const inner = await Promise.all(
    modelSubfolders.map(async (folder) =>
      (await readdir(path.join(snapshot, folder)).catch(() => [])).map((each) => `${folder}/${each}`),
    ),
  );
  const names = [...top, ...inner.flat()];
  // A link whose blob was deleted is no file.
  const sizes = await Promise.all(names.map((each) => sizeOf(path.join(snapshot, each))));
  return new Set(names.filter((_, index) => sizes[index] !== undefined));
}

function pickOnnx(names: ReadonlySet<string>, { file, dtype = 'auto' }: ModelReference): string | undefined {
  if (file !== undefined) return names.has(file) ? file : undefined;
  const wanted: readonly ModelDtype[] = dtype === 'auto' ? modelDtypes : [dtype];
  return wanted.flatMap(modelFileCandidates).find((each) => names.has(each));
}

async function askCommit(name: string, revision: string, client: HubClient): Promise<string> {
  const commit = String(await asModelError(name, client, () => askCommitOf(name, revision, client)));
  if (!COMMIT.test(commit)) {
    throw new ModelDownloadError(`Cannot download ${name}: the hub did not say which commit ${revision} is`);
  }
  return commit;
}

/** The files of a commit. */
async function listRepository(name: string, commit: string, client: HubClient): Promise<Map<string, RepositoryFile>> {
  const files = await asModelError(name, client, () => listFilesOf(name, commit, client));
  return new Map(files.map((file) => [file.path, file]));
}

/** The graph of a model, and all that is known to be needed before the graph is read. */
function pickWanted(
  reference: ModelReference,
  files: ReadonlyMap<string, RepositoryFile>,
): { readonly onnx: string; readonly wanted: readonly string[] } {
  const { from: name } = reference;
  const onnx = pickOnnx(new Set(files.keys()), reference);
  const preprocessors = preprocessorFiles.filter((each) => files.has(each));
  if (onnx === undefined || preprocessors.length === 0) {
    const missing = onnx === undefined ? 'an ONNX file' : 'a preprocessor_config.json';
    const there = [...files.keys()].filter((each) => each.endsWith('.onnx')).join(', ') || 'none';
    throw new ModelNotFoundError(
      `Cannot use model: ${name} must hold ${missing}${reference.dtype === undefined ? '' : ` of dtype ${reference.dtype}`}, its ONNX files are ${there}`,
    );
  }
  // Weights above 2 GB lie beside the graph, mostly in files named after it.
  const beside = [...files.keys()].filter((each) => each.startsWith(`${onnx}_data`) || each === `${onnx}.data`);
  return { onnx, wanted: ['config.json', ...preprocessors, onnx, ...beside] };
}

function requireSound(name: string, { path: file, digest, size }: RepositoryFile): void {
  // It becomes a name below the cache.
  if (file.split(/[\\/]/).some((part) => part === '..' || part === '')) {
    throw new ModelDownloadError(`Cannot download ${name}: the hub named a file out of the repository: ${file}`);
  }
  if (!DIGEST.test(digest) || !Number.isSafeInteger(size) || size < 0) {
    throw new ModelDownloadError(`Cannot download ${name}: the hub gave no usable digest or size for ${file}`);
  }
}

async function download(
  reference: ModelReference,
  commit: string,
  cache: RepositoryCache,
  client: HubClient,
  onProgress: HubSettings['onProgress'],
): Promise<void> {
  const { from: name } = reference;
  const files = await listRepository(name, commit, client);
  const { onnx, wanted } = pickWanted(reference, files);
  const bringAll = bringerOf(name, commit, files, cache, client, onProgress);
  await bringAll(wanted);
  // The graph says which files its weights are in, whatever their names.
  const snapshot = cache.snapshot(commit);
  const weights = await weightFiles(path.join(snapshot, onnx));
  const inside = weights.map((each) => path.relative(snapshot, each).split(path.sep).join('/'));
  await bringAll(inside.filter((each) => !wanted.includes(each)));
}

/** Brings files of a commit into its snapshot; those that the repository does not have are passed over. */
function bringerOf(
  name: string,
  commit: string,
  files: ReadonlyMap<string, RepositoryFile>,
  cache: RepositoryCache,
  client: HubClient,
  onProgress: HubSettings['onProgress'],
): (paths: readonly string[]) => Promise<void> {
  const progress = new Progress(name, onProgress);
  return async (paths) => {
    const found = [...new Set(paths)].flatMap((each) => files.get(each) ?? []);
    for (const file of found) requireSound(name, file);
    const unlinked: RepositoryFile[] = [];
    for (const file of found) if (!(await isInSnapshot(cache, commit, file))) unlinked.push(file);
    const missing: RepositoryFile[] = [];
    for (const file of unlinked) if ((await sizeOf(cache.blob(file.digest))) !== file.size) missing.push(file);
    await requireRoom(name, cache, missing);
    progress.expect(missing);
    for (const file of missing) await bringBlob(name, commit, file, cache, client, progress);
    for (const file of unlinked) await linkIntoSnapshot(cache, commit, file);
  };
}

const SNAPSHOT = /^(.*)[\\/]models--([^\\/]+?)--([^\\/]+)[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]/;

/**
 * Brings the text tower of a model that came from the hub: its files are left there until a text is asked for.
 *
 * @param file The model's own ONNX file.
 * @returns Whether the model is one of the hub's cache; nothing is brought when downloads are off, or when the repository has no text tower.
 * @throws ModelDownloadError, ModelDigestError
 */
export async function fetchTextTower(file: string, settings: HubSettings, signal: AbortSignal): Promise<boolean> {
  const [, cacheDir, owner, model, commit] = SNAPSHOT.exec(file) ?? [];
  if (cacheDir === undefined || commit === undefined) return false;
  if (settings.offline) return true;
  const name = `${owner}/${model}`;
  const cache = repositoryCache(cacheDir, name);
  const client = await HubClient.create(settings, signal);
  const files = await listRepository(name, commit, client);
  const tower = textFileCandidates(dtypeOfFile(file)).find((each) => files.has(each));
  if (tower === undefined) return true;
  const beside = [...files.keys()].filter((each) => each.startsWith(`${tower}_data`) || each === `${tower}.data`);
  const bringAll = bringerOf(name, commit, files, cache, client, settings.onProgress);
  await bringAll([...tokenizerFilesOf(tower), ...beside, tower]);
  return true;
}

async function bringBlob(
  name: string,
  commit: string,
  file: RepositoryFile,
  cache: RepositoryCache,
  client: HubClient,
  progress: Progress,
): Promise<void> {
  const { endpoint, signal } = client;
  const target = cache.blob(file.digest);
  await withFileLock(target, signal, async () => {
    // Another process may have brought it meanwhile.
    if ((await sizeOf(target)) === file.size) return;
    await downloadBlob(
      {
        url: `${endpoint}/${name}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`,
        name: `${name}/${file.path}`,
        page: `${endpoint}/${name}`,
        size: file.size,
        digest: file.digest,
        target,
        onReceived: (bytes) => progress.report(file, bytes),
      },
      client,
    );
  });
}

/** Compares what is missing with what is free, before a byte of it is asked for. */
async function requireRoom(name: string, cache: RepositoryCache, missing: readonly RepositoryFile[]): Promise<void> {
  if (missing.length === 0) return;
  let needed = 0;
  for (const { size, digest } of missing) needed += size - ((await sizeOf(partOf(cache.blob(digest)))) ?? 0);
  const free = await freeBytes(cache.root);
  if (free === undefined || free >= needed) return;
  throw new ModelDownloadError(
    `Cannot download ${name}: it needs ${megabytes(needed)} MB more in ${cache.root}, where ${megabytes(free)} MB are free`,
  );
}

/** The bytes that are free for this user at a folder, existing or not; undefined if the system does not say. */
async function freeBytes(folder: string): Promise<number | undefined> {
  for (let place = folder; ; place = path.dirname(place)) {
    const info = await statfs(place).catch(() => undefined);
    // Some file systems have no such number, and say nought of all.
    if (info !== undefined) return info.blocks > 0 ? info.bavail * info.bsize : undefined;
    if (path.dirname(place) === place) return undefined;
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** Tells how far the download of a model is, over all of its files. */
class Progress {
  readonly #model: string;
  readonly #onProgress: HubSettings['onProgress'];
  readonly #received = new Map<string, number>();
  #allTotalBytes = 0;
  #reportedAt = 0;

  constructor(model: string, onProgress: HubSettings['onProgress']) {
    this.#model = model;
    this.#onProgress = onProgress;
  }

  expect(files: readonly RepositoryFile[]): void {
    this.#allTotalBytes += files.reduce((sum, { size }) => sum + size, 0);
  }

  report(file: RepositoryFile, receivedBytes: number): void {
    const isFirst = !this.#received.has(file.path);
    this.#received.set(file.path, receivedBytes);
    const now = performance.now();
    const isDue = isFirst || receivedBytes === file.size || now - this.#reportedAt >= PROGRESS_MS;
    if (this.#onProgress === undefined || !isDue) return;
    this.#reportedAt = now;
    this.#onProgress({
      model: this.#model,
      file: file.path,
      receivedBytes,
      totalBytes: file.size,
      allReceivedBytes: [...this.#received.values()].reduce((sum, each) => sum + each, 0),
      allTotalBytes: this.#allTotalBytes,
    });
  }
}

/** Checks the digests that the caller pinned, each time: what lies in the cache may have been changed. */
async function verified(snapshot: string, { from: name, digests = {} }: ModelReference): Promise<string> {
  for (const [file, digest] of Object.entries(digests)) {
    if (!/^[0-9a-f]{64}$/.test(digest)) {
      throw new RangeError(`Cannot use model: digests must be SHA-256 in hex, received '${digest}' for ${file}`);
    }
    const place = path.join(snapshot, file);
    const isThere = path.relative(snapshot, place).startsWith('..') ? undefined : await sizeOf(place);
    if (isThere === undefined || !(await hasDigest(place, digest))) {
      throw new ModelDigestError(
        `Cannot use model: ${name}/${file} must have the SHA-256 ${digest}, found ${isThere === undefined ? 'no such file' : 'another'}`,
      );
    }
  }
  return snapshot;
}

async function asModelError<T>(name: string, client: HubClient, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    client.signal?.throwIfAborted();
    const status = (cause as { statusCode?: unknown }).statusCode;
    if (status === 404)
      throw new ModelNotFoundError(`Cannot use model: the hub has no ${name} of this revision`, { cause });
    const why =
      cause instanceof PassingError
        ? cause.message
        : status === 401 || status === 403
          ? `it is private, gated or unknown, and needs an access token (hf auth login, or HF_TOKEN): see ${client.endpoint}/${name}`
          : typeof status === 'number'
            ? `the hub answered ${status}`
            : `the hub gave no usable answer (${reasonOf(cause)})`;
    throw new ModelDownloadError(`Cannot download ${name}: ${why}`, {
      cause: cause instanceof PassingError ? (cause.cause ?? cause) : cause,
    });
  }
}
