/**
 * The hub's cache folder, laid out as Python's huggingface_hub and others lay it out:
 *
 *     models--owner--name/refs/<branch or tag>          the commit it stood for
 *     models--owner--name/blobs/<digest>                the files by content
 *     models--owner--name/snapshots/<commit>/<path>     links to them
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { replaceFile } from '../file-system.js';

/** The folder of one repository in the cache. */
export interface RepositoryCache {
  readonly root: string;
  /** The folder of a commit: a model folder. */
  snapshot(commit: string): string;
  /** The place of a file's content. */
  blob(digest: string): string;
}

/** Where a model's repository lies in the cache. */
export function repositoryCache(cacheDir: string, name: string): RepositoryCache {
  const root = path.join(path.resolve(cacheDir), `models--${name.replaceAll('/', '--')}`);
  return {
    root,
    snapshot: (commit) => path.join(root, 'snapshots', commit),
    blob: (digest) => path.join(root, 'blobs', digest),
  };
}

/** The commit that a branch or tag stood for when it was last asked; undefined when it never was. */
export async function readRef(cache: RepositoryCache, revision: string): Promise<string | undefined> {
  const text = await readFile(refPath(cache, revision), 'utf8').catch(() => undefined);
  const commit = text?.trim();
  return commit !== undefined && /^[0-9a-f]{40}$/.test(commit) ? commit : undefined;
}

/** Notes the commit that a branch or tag stands for. */
export async function writeRef(cache: RepositoryCache, revision: string, commit: string): Promise<void> {
  await replaceFile(refPath(cache, revision), (temporary) => writeFile(temporary, commit));
}

function refPath(cache: RepositoryCache, revision: string): string {
  return path.join(cache.root, 'refs', ...revision.split('/'));
}

/** A file of a repository, by its path there. */
export interface RepositoryFile {
  readonly path: string;
  readonly size: number;
  readonly digest: string;
}

/** Whether a file is in its snapshot as it should be: a link to its blob, or a copy of its size where links are not to be had. */
export async function isInSnapshot(cache: RepositoryCache, commit: string, file: RepositoryFile): Promise<boolean> {
  const place = path.join(cache.snapshot(commit), file.path);
  if ((await sizeOf(place)) !== file.size) return false;
  const link = await readlink(place).catch(() => undefined);
  return link === undefined || path.resolve(path.dirname(place), link) === cache.blob(file.digest);
}

/** What file systems and users without links answer. */
const NO_LINKS: ReadonlySet<unknown> = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'UNKNOWN']);

/** Puts a blob into a snapshot: by a relative link, or by a copy where links are not to be had. */
export async function linkIntoSnapshot(cache: RepositoryCache, commit: string, file: RepositoryFile): Promise<void> {
  const place = path.join(cache.snapshot(commit), file.path);
  const blob = cache.blob(file.digest);
  await replaceFile(place, (temporary) =>
    symlink(path.relative(path.dirname(place), blob), temporary).catch((error: NodeJS.ErrnoException) => {
      if (!NO_LINKS.has(error.code)) throw error;
      return copyFile(blob, temporary);
    }),
  );
}

/** The size of a file, links followed; undefined when there is none. */
export async function sizeOf(file: string): Promise<number | undefined> {
  return stat(file).then(
    (info) => (info.isFile() ? info.size : undefined),
    () => undefined,
  );
}

/**
 * Whether a file's content is what its name in `blobs` says: SHA-256 for large files (64 digits), git's SHA-1 of a blob for small ones (40).
 */
export async function hasDigest(file: string, digest: string): Promise<boolean> {
  const hash = createHash(digest.length === 64 ? 'sha256' : 'sha1');
  if (digest.length === 40) hash.update(`blob ${(await stat(file)).size}\0`);
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex') === digest;
}
