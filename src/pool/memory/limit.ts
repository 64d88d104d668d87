/**
 * How much memory this process and its children may use: the smaller of the machine's and what its control group (v1 or v2, and any group
 * above it) allows. Read once; a container's limit does not change under it in practice.
 */
import { totalmem } from 'node:os';
import { controlGroups, type ReadSystemFile, readSystemFile } from './control-groups.js';

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
  return availableMemory(machineBytes, read).bytes;
}

/** The same, and whose limit it is. */
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
