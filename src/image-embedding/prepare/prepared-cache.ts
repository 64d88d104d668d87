/**
 * Models prepared for this machine, in a cache folder:
 *
 *     <key>/model.onnx, weights.bin     the graph, and the weights that sessions map
 *     <key>/manifest.json               sizes, times and digests of the two, taken when they were written
 *     <key>/used                        touched whenever the entry is used
 *     digests/<place>.json              digests of model files, by path, size, time and inode, so that no file is hashed twice
 *
 * Invariants: an entry appears whole, by a rename, and is never written to again while it may be mapped. An entry that is not what its manifest
 * says, or that others than its user and root may write to, is not used. All of it is readable by others, and none of it has to be writable: an entry may
 * come with a container's image.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, realpath, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { packageFile } from '../../worker/internal.js';
import { homeFolder, makeFolder, replaceFile } from '../file-system.js';
import { PREPARED_GRAPH, PREPARED_WEIGHTS } from '../inference/session.js';
import { ExternalWeights } from '../model/weights.js';

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

interface Manifest {
  /** The entry's own name: one that was moved to another place is not used there. */
  readonly key: string;
  readonly files: Readonly<Record<string, FileRecord>>;
}

const FILES = [PREPARED_GRAPH, PREPARED_WEIGHTS];
const FORMAT = 2;
/** What a maker that was killed left behind is older than the longest that one may take, in ms. */
const ABANDONED_MS = 3_600_000;

/** The cache folder when nothing else is said; undefined without a home. */
export function defaultPreparedFolder(): string | undefined {
  const home = homeFolder();
  const cache = process.env.XDG_CACHE_HOME || (home === undefined ? undefined : path.join(home, '.cache'));
  return cache === undefined ? undefined : path.join(cache, 'millrace', 'prepared');
}

/** What weights are laid out for. */
export interface Machine {
  /** The version of onnxruntime. */
  readonly runtime: string;
  /** The CPU's name, and on Linux the instructions it has. */
  readonly cpu: string;
}

/** What a model prepared here is good for: this content, this onnxruntime, this kind of CPU. */
export async function preparedKey(cache: PreparedCache, file: string, machine?: Machine): Promise<string> {
  const { runtime, cpu } = machine ?? (await thisMachine());
  const parts = [FORMAT, await modelDigest(cache, file), runtime, process.platform, process.arch, cpu];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40);
}

/** The folder of an entry that is whole and ours; undefined when there is none. Marks it as used. */
export async function findPrepared(cache: PreparedCache, key: string): Promise<string | undefined> {
  const folder = path.join(cache.folder, key);
  const manifest = await readManifest(folder);
  if (manifest?.key !== key) return undefined;
  const isFixed = await isReadOnly(folder);
  const places = [folder, ...FILES.map((name) => path.join(folder, name))];
  for (const place of places) {
    const info = await stat(place).catch(() => undefined);
    if (info === undefined || !isTrusted(info.uid, info.mode, isFixed)) return undefined;
  }
  for (const name of FILES) {
    if (!(await isAsRecorded(path.join(folder, name), manifest.files[name]))) return undefined;
  }
  const now = new Date();
  await utimes(path.join(folder, 'used'), now, now).catch(() => undefined);
  return folder;
}

/** Files whose digests were taken since their times say another thing than their manifests, with the times that they had. */
const checked = new Map<string, number>();

/**
 * Whether a file is the one that was hashed. Hashing it again would take longer than loading it, so size and time have to do: the time to the second,
 * which is what archives keep. Where a copy has another time the digest decides, once: the time is then set right, or the answer kept.
 */
async function isAsRecorded(file: string, record: FileRecord | undefined): Promise<boolean> {
  const info = await stat(file).catch(() => undefined);
  if (record === undefined || info === undefined || !info.isFile() || info.size !== record.size) return false;
  const seconds = (ms: number): number => Math.floor(ms / 1000);
  if (seconds(info.mtimeMs) === seconds(record.mtimeMs) || checked.get(file) === info.mtimeMs) return true;
  if ((await sha256(file)) !== record.sha256) return false;
  const time = new Date(record.mtimeMs);
  await utimes(file, time, time).catch(() => checked.set(file, info.mtimeMs));
  return true;
}

/** Whether an entry's content is what it was when it was written. Reads all of it. */
export async function verifyPrepared(folder: string): Promise<boolean> {
  const manifest = await readManifest(folder);
  if (manifest === undefined) return false;
  for (const name of FILES) {
    if ((await sha256(path.join(folder, name)).catch(() => undefined)) !== manifest.files[name]?.sha256) return false;
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
  const temporary = `${folder}.${randomUUID()}.tmp`;
  await makeFolder(temporary, 0o755);
  try {
    await write(temporary);
    const files: Record<string, FileRecord> = {};
    for (const name of FILES) files[name] = await seal(path.join(temporary, name));
    const manifest: Manifest = { key, files };
    await writeFile(path.join(temporary, 'manifest.json'), JSON.stringify(manifest), { mode: 0o644 });
    await writeFile(path.join(temporary, 'used'), '', { mode: 0o644 });
    // A damaged entry in the way goes; one that is mapped by others stays theirs until they end.
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  await evictPrepared(cache, key);
  return folder;
}

/** Removes what killed makers left, and entries, the longest unused first, until the cache is within its bounds; `keep` stays. */
export async function evictPrepared(cache: PreparedCache, keep: string): Promise<void> {
  const entries: { folder: string; bytes: number; usedMs: number }[] = [];
  for (const name of await readdir(cache.folder).catch(() => [])) {
    const folder = path.join(cache.folder, name);
    if (name.endsWith('.tmp') && (await isAbandoned(folder))) {
      await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    }
    if (!/^[0-9a-f]{40}$/.test(name)) continue;
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

async function isAbandoned(folder: string): Promise<boolean> {
  return stat(folder).then(
    ({ mtimeMs }) => Date.now() - mtimeMs > ABANDONED_MS,
    () => false,
  );
}

/** Writes a file out to the disk, so that its pages are clean and shared, and records what it is. */
async function seal(file: string): Promise<FileRecord> {
  const handle = await open(file, 'r+');
  try {
    // onnxruntime writes them as the umask has it, which may let a group write.
    await handle.chmod(0o644 & ~process.umask());
    await handle.sync();
  } finally {
    await handle.close();
  }
  const { size, mtimeMs } = await stat(file);
  return { size, mtimeMs, sha256: await sha256(file) };
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  try {
    const value = JSON.parse(await readFile(path.join(folder, 'manifest.json'), 'utf8')) as Partial<Manifest>;
    return typeof value.key === 'string' && typeof value.files === 'object' && value.files !== null
      ? { key: value.key, files: value.files }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether only this user and root can have written it. Windows has neither owners of this kind nor modes. */
function isTrusted(uid: number, mode: number, isFixed: boolean = false): boolean {
  if (process.getuid === undefined) return true;
  return (isFixed || uid === process.getuid() || uid === 0) && (mode & 0o022) === 0;
}

/** Whether a place is mounted read-only, so that no process here writes to it. Known on Linux alone. */
async function isReadOnly(place: string): Promise<boolean> {
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const real = await realpath(place).catch(() => place);
  let longest = '';
  let answer = false;
  for (const line of table.split('\n')) {
    const [, , , , point = '', options = ''] = line.split(' ');
    const folder = point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    const isAbove = real === folder || real.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
    // Of mounts on one place the last counts.
    if (!isAbove || folder === '' || folder.length < longest.length) continue;
    longest = folder;
    answer = options.split(',').includes('ro');
  }
  return answer;
}

/** What a model's files hold: its graph, and the files beside it that the graph keeps weights in. */
async function modelDigest(cache: PreparedCache, graph: string): Promise<string> {
  const { sha256: digest, weights } = await knownDigest(cache, graph);
  const folder = await realpath(path.dirname(graph));
  const digests = weights.map(async (name) => {
    const file = path.resolve(folder, name);
    // onnxruntime refuses such a model: nothing of that file is read here either.
    if (!file.startsWith(folder + path.sep)) throw new Error(`it keeps weights outside its folder, in ${name}`);
    return [name, (await knownDigest(cache, file)).sha256].join(' ');
  });
  return [digest, ...(await Promise.all(digests))].join('\n');
}

interface KnownDigest {
  readonly sha256: string;
  /** The files that weights lie in, where this is a graph. */
  readonly weights: readonly string[];
}

/** A file's digest, out of the cache when the same file was hashed before. */
async function knownDigest(cache: PreparedCache, file: string): Promise<KnownDigest> {
  const info = await stat(file);
  if (!info.isFile()) throw new Error(`${file} is no file`);
  const { size, mtimeMs, ino, dev } = info;
  const place = createHash('sha256')
    .update(JSON.stringify([FORMAT, path.resolve(file), size, mtimeMs, ino, dev]))
    .digest('hex');
  const record = path.join(cache.folder, 'digests', `${place.slice(0, 40)}.json`);
  const known = await readKnown(record);
  if (known !== undefined) return known;
  const weights = new ExternalWeights();
  const digest = { sha256: await sha256(file, (chunk) => weights.add(chunk)), weights: weights.names };
  // A cache that can't be written, of another user or of a container's image, may hold the model all the same.
  await mkdir(path.dirname(record), { recursive: true, mode: 0o755 })
    .then(() => replaceFile(record, (temporary) => writeFile(temporary, JSON.stringify(digest), { mode: 0o644 })))
    .catch(() => undefined);
  return digest;
}

async function readKnown(record: string): Promise<KnownDigest | undefined> {
  try {
    const info = await stat(record);
    if (!isTrusted(info.uid, info.mode)) return undefined;
    const { sha256: digest, weights } = JSON.parse(await readFile(record, 'utf8')) as Partial<KnownDigest>;
    const isKnown = /^[0-9a-f]{64}$/.test(digest ?? '') && weights?.every((each) => typeof each === 'string');
    return isKnown ? { sha256: digest as string, weights: weights ?? [] } : undefined;
  } catch {
    return undefined;
  }
}

async function sha256(file: string, onChunk?: (chunk: Buffer) => void): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer);
    onChunk?.(chunk as Buffer);
  }
  return hash.digest('hex');
}

/** The machine that this process runs on. */
export async function thisMachine(): Promise<Machine> {
  const file = createRequire(packageFile('index.js')).resolve('onnxruntime-node/package.json');
  const { version } = JSON.parse(await readFile(file, 'utf8')) as { version?: unknown };
  const info = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1] ?? '';
  return { runtime: String(version), cpu: `${os.cpus()[0]?.model ?? ''} ${flags}` };
}
