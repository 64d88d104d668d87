import { readFile } from 'node:fs/promises';

/** Stopped by a signal or a debugger, dead, or collected: as `/proc/<pid>/stat` has it. */
const STANDS_STILL = new Set(['T', 't', 'Z', 'X']);

/**
 * Whether a process that shows no sign of life waits for a core, a disk or memory, and was not stopped.
 *
 * @returns Undefined where the system does not tell.
 */
export async function isStarved(pid: number): Promise<boolean | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The program's name, in parentheses, may hold anything.
    const state = text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3);
    return state === '' ? undefined : !STANDS_STILL.has(state);
  } catch {
    return undefined;
  }
}
