/** How many workers a machine can keep busy. */
import { availableParallelism } from 'node:os';
import { controlGroups, type ReadSystemFile, readSystemFile } from './memory/control-groups.js';

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
