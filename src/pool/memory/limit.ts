/**
 * How much memory this process and its children may use: the smaller of the machine's and what its control group (v1 or v2, and any group
 * above it) allows. Read once; a container's limit does not change under it in practice.
 */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';

/** Reads a small system file; undefined when there is none. Replaced in tests. */
export type ReadSystemFile = (path: string) => string | undefined;

const readSystemFile: ReadSystemFile = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/**
 * The memory that this process and its children may use: the smaller of the machine's and what its control groups allow.
 *
 * @param machineBytes The machine's memory, in bytes.
 * @param read How system files are read; for tests.
 * @returns Bytes.
 * @example
 * ```ts
 * availableMemoryBytes(8_000_000_000, () => undefined); // => 8_000_000_000
 * ```
 */
export function availableMemoryBytes(machineBytes: number = totalmem(), read: ReadSystemFile = readSystemFile): number {
  return Math.min(machineBytes, controlGroupLimit(read));
}

function controlGroupLimit(read: ReadSystemFile): number {
  const membership = read('/proc/self/cgroup');
  if (membership === undefined) return Number.POSITIVE_INFINITY;
  let limit = Number.POSITIVE_INFINITY;
  for (const line of membership.split('\n')) {
    // Each line is `id:controllers:path`; version 2 has id 0 and no controllers.
    const [, controllers, ...rest] = line.split(':');
    const path = rest.join(':');
    if (controllers === undefined || path === '') continue;
    if (controllers === '') limit = Math.min(limit, walk(read, '/sys/fs/cgroup', path, 'memory.max'));
    else if (controllers.split(',').includes('memory')) {
      limit = Math.min(limit, walk(read, '/sys/fs/cgroup/memory', path, 'memory.limit_in_bytes'));
    }
  }
  return limit;
}

// A group is bound by the limits of all groups above it. Inside a container the path may name a group that is not mounted: the root then
// holds the container's own limit.
function walk(read: ReadSystemFile, mount: string, path: string, file: string): number {
  let limit = Number.POSITIVE_INFINITY;
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  for (let depth = parts.length; depth >= 0; depth -= 1) {
    const text = read([mount, ...parts.slice(0, depth), file].join('/'))?.trim();
    const bytes = text === undefined || text === 'max' ? Number.NaN : Number(text);
    // Version 1 writes "no limit" as a number close to 2^63.
    if (bytes > 0 && bytes < 2 ** 60) limit = Math.min(limit, bytes);
  }
  return limit;
}
