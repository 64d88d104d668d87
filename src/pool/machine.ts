/**
 * What this process and its children may use of the machine: cores and memory, after the limits of its Linux control groups (v1 and v2), and what
 * a process occupies. Limits are read once: a container's do not change under it in practice.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';

/** Reads a small system file; undefined when there is none. Replaced in tests. */
export type ReadSystemFile = (path: string) => string | undefined;

const readSystemFile: ReadSystemFile = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/** A folder of a control group, and which version's file names it uses. */
interface ControlGroup {
  readonly folder: string;
  readonly version: 1 | 2;
}

/**
 * The groups that bind this process for a controller, each with all groups above it: the limits of all of them hold. Inside a container the path may
 * name a group that is not mounted: the root then holds the container's own limit.
 */
function controlGroups(controller: 'memory' | 'cpu', read: ReadSystemFile): ControlGroup[] {
  const groups: ControlGroup[] = [];
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    // Each line is `id:controllers:path`; version 2 has id 0 and no controllers.
    const [, controllers, ...rest] = line.split(':');
    const path = rest.join(':');
    if (controllers === undefined || path === '') continue;
    if (controllers === '') groups.push(...withParents('/sys/fs/cgroup', path, 2));
    else if (controllers.split(',').includes(controller)) {
      groups.push(...withParents(`/sys/fs/cgroup/${controller}`, path, 1));
    }
  }
  return groups;
}

function withParents(mount: string, path: string, version: 1 | 2): ControlGroup[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  const groups: ControlGroup[] = [];
  for (let depth = parts.length; depth >= 0; depth -= 1) {
    groups.push({ folder: [mount, ...parts.slice(0, depth)].join('/'), version });
  }
  return groups;
}

/**
 * The cores that this process and its children may use: those it may run on, or fewer where its control groups (v1 or v2) have a CPU quota; of a quota
 * a fraction counts as a core, since its workers would leave it unused otherwise.
 *
 * @param machineCores The cores that the process may run on.
 * @param read How system files are read; for tests.
 * @returns At least 1.
 * @example
 * ```ts
 * availableCores(8, () => undefined); // => 8
 * ```
 */
export function availableCores(
  machineCores: number = availableParallelism(),
  read: ReadSystemFile = readSystemFile,
): number {
  let cores = machineCores;
  for (const { folder, version } of controlGroups('cpu', read)) {
    const [quota, period] =
      version === 2
        ? (read(`${folder}/cpu.max`)?.trim().split(' ') ?? [])
        : [read(`${folder}/cpu.cfs_quota_us`), read(`${folder}/cpu.cfs_period_us`)];
    const allowed = Number(quota) / Number(period);
    // `max` in version 2, -1 in version 1: no quota.
    if (Number.isFinite(allowed) && allowed > 0) cores = Math.min(cores, Math.ceil(allowed));
  }
  return Math.max(1, cores);
}

/**
 * How many workers of one thread `maxWorkers: 'auto'` means: one for each core, and no more than fit into the memory.
 *
 * @param workerBytes What a worker costs, in bytes, where it is known.
 * @param limitBytes What all workers together may hold, in bytes.
 * @param cores The cores that may be used.
 * @returns At least 1.
 * @example
 * ```ts
 * autoWorkers(600_000_000, 2_000_000_000, 8); // => 3
 * ```
 */
export function autoWorkers(
  workerBytes: number | undefined,
  limitBytes: number,
  cores: number = availableCores(),
): number {
  if (workerBytes === undefined || workerBytes <= 0) return cores;
  return Math.max(1, Math.min(cores, Math.floor(limitBytes / workerBytes)));
}

/** The memory that this process and its children may use, in bytes, and which limit it is: the machine's, or that of its control groups. */
export function availableMemory(
  machineBytes: number = totalmem(),
  read: ReadSystemFile = readSystemFile,
): { readonly bytes: number; readonly of: 'container (control group)' | 'machine' } {
  let limit = machineBytes;
  for (const { folder, version } of controlGroups('memory', read)) {
    const text = read(`${folder}/${version === 2 ? 'memory.max' : 'memory.limit_in_bytes'}`)?.trim();
    const bytes = text === undefined || text === 'max' ? Number.NaN : Number(text);
    // Version 1 writes "no limit" as a number close to 2^63.
    if (bytes > 0 && bytes < 2 ** 60) limit = Math.min(limit, bytes);
  }
  return { bytes: limit, of: limit < machineBytes ? 'container (control group)' : 'machine' };
}

/**
 * Measures the resident memory of a process, in bytes: its proportional share (PSS) where the system tells it, so that pages which several workers
 * share, such as a mapped model, are counted once; else its resident set. Undefined without `/proc`, or when the process is gone.
 */
export async function residentBytes(pid: number): Promise<number | undefined> {
  return (
    (await readKilobytes(`/proc/${pid}/smaps_rollup`, /^Pss:\s+(\d+) kB/m)) ??
    (await readKilobytes(`/proc/${pid}/status`, /^VmRSS:\s+(\d+) kB/m))
  );
}

async function readKilobytes(path: string, pattern: RegExp): Promise<number | undefined> {
  try {
    const found = pattern.exec(await readFile(path, 'utf8'))?.[1];
    return found === undefined ? undefined : Number(found) * 1024;
  } catch {
    return undefined;
  }
}
