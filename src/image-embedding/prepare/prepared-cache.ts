/**
 * Models prepared for this machine, in a cache folder:
 *
 *     <key>/model.onnx, weights.bin     the graph, and the weights that sessions map
 *     <key>/manifest.json               sizes, times and digests of the two, taken when they were written
 *     <key>/used                        touched whenever the entry is used
 *     digests/<place>.json              digests of model files, by path, size, time and inode, so that no file is hashed twice
 *
 * Invariants: an entry appears whole, by a rename, and is never written to again while it may be mapped. An entry that is not what its manifest
 * says, or that others may write to, is not used.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { PREPARED_GRAPH, PREPARED_WEIGHTS } from '../inference/session.js';

/** Where prepared models are kept, and how much of them. */
export interface PreparedCache {
  readonly folder: string;
  /** Entries that were not used for the longest time go when all together are larger. */
  readonly maxBytes: number;
}

interface FileRecord {
  readonly size: number;
  readonly mtimeMs: number;
  readonly sha256: string;
}

const FILES = [PREPARED_GRAPH, PREPARED_WEIGHTS];
const FORMAT = 1;

/** The cache folder when nothing else is said. */
export function defaultPreparedFolder(): string {
  const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  return path.join(cache, 'millrace', 'prepared');
}

/** What a model prepared here is good for: this content, this onnxruntime, this kind of CPU. */
export async function preparedKey(cache: PreparedCache, file: string): Promise<string> {
  const parts = [
    FORMAT,
    await modelDigest(cache, file),
    await runtimeVersion(),
    process.platform,
    process.arch,
    await cpuFeatures(),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40);
}

/** The folder of an entry that is whole and ours; undefined when there is none. Marks it as used. */
export async function findPrepared(cache: PreparedCache, key: string): Promise<string | undefined> {
  const folder = path.join(cache.folder, key);
  const manifest = await readManifest(folder);
  if (manifest === undefined) return undefined;
  for (const name of FILES) {
    const record = manifest[name];
    const info = await stat(path.join(folder, name)).catch(() => undefined);
    if (record === undefined || info === undefined || !info.isFile()) return undefined;
    // Hashing it all would take longer than loading it: size and time are those of the file that was hashed.
    if (info.size !== record.size || Math.abs(info.mtimeMs - record.mtimeMs) > 1) return undefined;
    if (!isOurs(info.uid, info.mode)) return undefined;
  }
  const folderInfo = await stat(folder);
  if (!isOurs(folderInfo.uid, folderInfo.mode)) return undefined;
  const now = new Date();
  await utimes(path.join(folder, 'used'), now, now).catch(() => undefined);
  return folder;
}

/** Whether an entry's content is what it was when it was written. Reads all of it. */
export async function verifyPrepared(folder: string): Promise<boolean> {
  const manifest = await readManifest(folder);
  if (manifest === undefined) return false;
  for (const name of FILES) {
    if ((await sha256(path.join(folder, name)).catch(() => undefined)) !== manifest[name]?.sha256) return false;
  }
  return true;
}

/** Makes an entry: `write` fills a folder, which then takes the entry's place. */
export async function writePrepared(
  cache: PreparedCache,
  key: string,
  write: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = path.join(cache.folder, key);
  const temporary = `${folder}.${process.pid}.tmp`;
  await mkdir(cache.folder, { recursive: true, mode: 0o700 });
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { mode: 0o700 });
  try {
    await write(temporary);
    const manifest: Record<string, FileRecord> = {};
    for (const name of FILES) manifest[name] = await seal(path.join(temporary, name));
    await writeFile(path.join(temporary, 'manifest.json'), JSON.stringify(manifest), { mode: 0o600 });
    await writeFile(path.join(temporary, 'used'), '', { mode: 0o600 });
    // A damaged entry in the way goes; one that is mapped by others stays theirs until they end.
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  await evictPrepared(cache, key);
  return folder;
}

/** Removes entries, the longest unused first, until the cache is within its bounds; `keep` stays. */
export async function evictPrepared(cache: PreparedCache, keep: string): Promise<void> {
  const entries: { folder: string; bytes: number; usedMs: number }[] = [];
  for (const name of await readdir(cache.folder).catch(() => [])) {
    if (!/^[0-9a-f]{40}$/.test(name)) continue;
    const folder = path.join(cache.folder, name);
    const sizes = await Promise.all(
      FILES.map((file) =>
        stat(path.join(folder, file)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    const usedMs = await stat(path.join(folder, 'used')).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    );
    entries.push({ folder, bytes: sizes.reduce((sum, size) => sum + size, 0), usedMs });
  }
  let total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { folder, bytes } of entries.sort((one, other) => one.usedMs - other.usedMs)) {
    if (total <= cache.maxBytes) return;
    if (path.basename(folder) === keep) continue;
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    total -= bytes;
  }
}

/** Writes a file out to the disk, so that its pages are clean and shared, and records what it is. */
async function seal(file: string): Promise<FileRecord> {
  const handle = await open(file, 'r+');
  try {
    await handle.chmod(0o600);
    await handle.sync();
  } finally {
    await handle.close();
  }
  const { size, mtimeMs } = await stat(file);
  return { size, mtimeMs, sha256: await sha256(file) };
}

async function readManifest(folder: string): Promise<Record<string, FileRecord> | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path.join(folder, 'manifest.json'), 'utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, FileRecord>) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether only this user can have written it. Windows has neither owners of this kind nor modes. */
function isOurs(uid: number, mode: number): boolean {
  if (process.getuid === undefined) return true;
  return uid === process.getuid() && (mode & 0o022) === 0;
}

async function modelDigest(cache: PreparedCache, file: string): Promise<string> {
  const folder = path.dirname(file);
  const base = path.basename(file);
  const names = (await readdir(folder)).filter(
    (name) => name === base || name.startsWith(`${base}_data`) || name === `${base}.data`,
  );
  const digests = await Promise.all(names.sort().map((name) => knownDigest(cache, path.join(folder, name))));
  return digests.join(' ');
}

/** A file's digest, out of the cache when the same file was hashed before. */
async function knownDigest(cache: PreparedCache, file: string): Promise<string> {
  const { size, mtimeMs, ino, dev } = await stat(file);
  const place = createHash('sha256')
    .update(JSON.stringify([path.resolve(file), size, mtimeMs, ino, dev]))
    .digest('hex');
  const record = path.join(cache.folder, 'digests', `${place.slice(0, 40)}.json`);
  const known = await readFile(record, 'utf8').catch(() => '');
  if (/^[0-9a-f]{64}$/.test(known)) return known;
  const digest = await sha256(file);
  await mkdir(path.dirname(record), { recursive: true, mode: 0o700 });
  const temporary = `${record}.${process.pid}.tmp`;
  await writeFile(temporary, digest, { mode: 0o600 });
  await rename(temporary, record);
  return digest;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function runtimeVersion(): Promise<string> {
  const file = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return String((JSON.parse(await readFile(file, 'utf8')) as { version?: unknown }).version);
}

/** What the layout of weights depends on: the CPU's name, and on Linux the instructions it has. */
async function cpuFeatures(): Promise<string> {
  const info = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1] ?? '';
  return `${os.cpus()[0]?.model ?? ''} ${flags}`;
}
