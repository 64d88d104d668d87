/** Brings a model from the hub into its cache, and answers the folder. `@huggingface/hub` is loaded when this is first called. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { isMillraceError } from '../../core/index.js';
import { weightFiles } from '../model/external-weights.js';
import { ModelDigestError, ModelDownloadError, ModelNotFoundError, ModelOfflineError } from '../model/model-errors.js';
import { type ModelDtype, modelDtypes, modelFileCandidates } from '../model/model-folder.js';
import type { ModelReference } from '../model/resolve-model.js';
import { withFileLock } from '../file-lock.js';
import { downloadBlob } from './download-blob.js';
import {
  hasDigest,
  linkIntoSnapshot,
  type RepositoryCache,
  readRef,
  repositoryCache,
  sizeOf,
  writeRef,
} from './hub-cache.js';
import type { HubSettings } from './hub-options.js';

/** A file of the repository that the model needs. */
interface WantedFile {
  readonly path: string;
  readonly size: number;
  readonly digest: string;
}

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
  const { getHFHubCachePath } = await import('@huggingface/hub');
  const cache = repositoryCache(settings.cacheDir ?? getHFHubCachePath(), name);
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
    commit = COMMIT.test(revision) ? revision : await askCommit(name, revision, settings, signal);
  } catch (error) {
    // The hub is out of reach: what the branch stood for last will do.
    if (hasKnown && isMillraceError(error, 'ERR_MODEL_DOWNLOAD')) return verified(cache.snapshot(known), reference);
    throw error;
  }
  await download(reference, commit, cache, settings, signal);
  if (commit !== revision) await writeRef(cache, revision, commit);
  return verified(cache.snapshot(commit), reference);
}

/** Whether a snapshot has all that reading and loading it will ask for. */
async function isComplete(snapshot: string, reference: ModelReference): Promise<boolean> {
  const names = await snapshotFiles(snapshot);
  const onnx = pickOnnx(names, reference);
  if (onnx === undefined || !names.has('preprocessor_config.json')) return false;
  const weights = await weightFiles(path.join(snapshot, onnx));
  const sizes = await Promise.all(weights.map(sizeOf));
  return sizes.every((size) => size !== undefined);
}

async function snapshotFiles(snapshot: string): Promise<Set<string>> {
  const top = await readdir(snapshot).catch(() => []);
  const inner = await readdir(path.join(snapshot, 'onnx')).catch(() => []);
  const names = [...top, ...inner.map((each) => `onnx/${each}`)];
  // A link whose blob was deleted is no file.
  const sizes = await Promise.all(names.map((each) => sizeOf(path.join(snapshot, each))));
  return new Set(names.filter((_, index) => sizes[index] !== undefined));
}

function pickOnnx(names: ReadonlySet<string>, { file, dtype = 'auto' }: ModelReference): string | undefined {
  if (file !== undefined) return names.has(file) ? file : undefined;
  const wanted: readonly ModelDtype[] = dtype === 'auto' ? modelDtypes : [dtype];
  return wanted.flatMap(modelFileCandidates).find((each) => names.has(each));
}

async function askCommit(
  name: string,
  revision: string,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { modelInfo } = await import('@huggingface/hub');
  const info = await asModelError(name, signal, () =>
    modelInfo({ name, revision, additionalFields: ['sha'], ...endpointOf(settings, signal) }),
  );
  if (!COMMIT.test(String(info.sha))) {
    throw new ModelDownloadError(`Cannot download ${name}: the hub did not say which commit ${revision} is`);
  }
  return info.sha as string;
}

async function listWanted(
  reference: ModelReference,
  commit: string,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<WantedFile[]> {
  const { listFiles } = await import('@huggingface/hub');
  const { from: name } = reference;
  const files = new Map<string, WantedFile>();
  const hub = endpointOf(settings, signal);
  await asModelError(name, signal, async () => {
    for await (const entry of listFiles({ repo: name, revision: commit, recursive: true, ...hub })) {
      if (entry.type !== 'file') continue;
      files.set(entry.path, { path: entry.path, size: entry.size, digest: entry.lfs?.oid ?? entry.oid ?? '' });
    }
  });
  const onnx = pickOnnx(new Set(files.keys()), reference);
  const missing =
    onnx === undefined
      ? 'an ONNX file'
      : files.has('preprocessor_config.json')
        ? undefined
        : 'a preprocessor_config.json';
  if (missing !== undefined || onnx === undefined) {
    const there = [...files.keys()].filter((each) => each.endsWith('.onnx')).join(', ') || 'none';
    throw new ModelNotFoundError(
      `Cannot use model: ${name} must hold ${missing}${reference.dtype === undefined ? '' : ` of dtype ${reference.dtype}`}, its ONNX files are ${there}`,
    );
  }
  const wanted = ['config.json', 'preprocessor_config.json', onnx];
  // Weights above 2 GB lie beside the graph, in files named after it.
  wanted.push(...[...files.keys()].filter((each) => each.startsWith(`${onnx}_data`) || each === `${onnx}.data`));
  const found = wanted.flatMap((each) => files.get(each) ?? []);
  for (const { path: file, digest, size } of found) {
    // It becomes a name below the cache.
    if (file.split(/[\\/]/).some((part) => part === '..' || part === '')) {
      throw new ModelDownloadError(`Cannot download ${name}: the hub named a file out of the repository: ${file}`);
    }
    if (!DIGEST.test(digest) || !Number.isSafeInteger(size) || size < 0) {
      throw new ModelDownloadError(`Cannot download ${name}: the hub gave no usable digest or size for ${file}`);
    }
  }
  return found;
}

async function download(
  reference: ModelReference,
  commit: string,
  cache: RepositoryCache,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { from: name } = reference;
  const files = await listWanted(reference, commit, settings, signal);
  const received = new Map<string, number>();
  const missing: WantedFile[] = [];
  for (const file of files) if ((await sizeOf(cache.blob(file.digest))) !== file.size) missing.push(file);
  const allTotalBytes = missing.reduce((sum, { size }) => sum + size, 0);
  let reportedAt = 0;
  const report = (file: WantedFile, bytes: number) => {
    const isFirst = !received.has(file.path);
    received.set(file.path, bytes);
    const now = performance.now();
    const isDue = isFirst || bytes === file.size || now - reportedAt >= PROGRESS_MS;
    if (settings.onProgress === undefined || !isDue) return;
    reportedAt = now;
    const allReceivedBytes = [...received.values()].reduce((sum, each) => sum + each, 0);
    const { path: filePath, size: totalBytes } = file;
    settings.onProgress({
      model: name,
      file: filePath,
      receivedBytes: bytes,
      totalBytes,
      allReceivedBytes,
      allTotalBytes,
    });
  };
  for (const file of missing) {
    const target = cache.blob(file.digest);
    await withFileLock(target, signal, async () => {
      // Another process may have brought it meanwhile.
      if ((await sizeOf(target)) === file.size) return;
      await downloadBlob({
        url: `${settings.endpoint}/${name}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`,
        name: `${name}/${file.path}`,
        size: file.size,
        digest: file.digest,
        target,
        accessToken: settings.accessToken,
        retries: settings.retries,
        stallTimeoutMs: settings.stallTimeoutMs,
        signal,
        onReceived: (bytes) => report(file, bytes),
      });
    });
  }
  for (const file of files) await linkIntoSnapshot(cache, commit, file.path, file.digest);
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

/** Where the hub is, and how it is asked: no longer than a download may stand still. */
function endpointOf(
  { endpoint, accessToken, stallTimeoutMs }: HubSettings,
  signal: AbortSignal | undefined,
): { hubUrl: string; accessToken?: string; fetch: typeof fetch } {
  const ask: typeof fetch = (input, init) => {
    const patience = AbortSignal.timeout(Math.min(stallTimeoutMs, 2 ** 31 - 1));
    return fetch(input, { ...init, signal: signal === undefined ? patience : AbortSignal.any([signal, patience]) });
  };
  return { hubUrl: endpoint, ...(accessToken === undefined ? {} : { accessToken }), fetch: ask };
}

async function asModelError<T>(name: string, signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    signal?.throwIfAborted();
    const status = (cause as { statusCode?: unknown }).statusCode;
    if (status === 404)
      throw new ModelNotFoundError(`Cannot use model: the hub has no ${name} of this revision`, { cause });
    const why =
      status === 401 || status === 403
        ? 'it is private, gated or unknown, and needs an access token'
        : typeof status === 'number'
          ? `the hub answered ${status}`
          : 'the hub could not be reached';
    throw new ModelDownloadError(`Cannot download ${name}: ${why}`, { cause });
  }
}
