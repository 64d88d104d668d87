import { readFile } from 'node:fs/promises';

/**
 * Measures the resident memory of a process: its proportional share (PSS) where the system tells it, so that pages which several workers share,
 * such as a mapped model, are not counted once for each; else its resident set.
 *
 * @param pid The process.
 * @returns Bytes, or undefined where the system has no `/proc` or the process is gone.
 * @example
 * ```ts
 * const bytes = await residentBytes(process.pid);
 * bytes === undefined || bytes > 1_000_000; // => true
 * ```
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
