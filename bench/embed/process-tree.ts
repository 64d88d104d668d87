/** What a process and all below it use, out of Linux's /proc. */
import { readdir, readFile } from 'node:fs/promises';

/** CPU time is counted in hundredths of a second, on every Linux that Node runs on. */
const TICK_MS = 10;

interface ProcessTimes {
  readonly parent: number;
  /** Of the process and of the children it has waited for, in ms. */
  readonly cpuMs: number;
}

async function readTimes(pid: number): Promise<ProcessTimes | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name, in brackets, may hold anything.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [, parent] = fields as [number, number];
    const ticks = fields.slice(11, 15).reduce((sum, each) => sum + each, 0);
    return { parent, cpuMs: ticks * TICK_MS };
  } catch {
    return undefined;
  }
}

async function readTree(roots: readonly number[]): Promise<Map<number, ProcessTimes>> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid));
  const all = new Map<number, ProcessTimes>();
  for (const pid of pids) {
    const times = await readTimes(pid);
    if (times !== undefined) all.set(pid, times);
  }
  const isBelow = (pid: number): boolean => {
    if (roots.includes(pid)) return true;
    const parent = all.get(pid)?.parent;
    return parent !== undefined && parent > 1 && isBelow(parent);
  };
  return new Map([...all].filter(([pid]) => isBelow(pid)));
}

/** CPU time of the processes and all below them since they began, in ms. */
export async function treeCpuMs(roots: readonly number[]): Promise<number> {
  const tree = await readTree(roots);
  return [...tree.values()].reduce((sum, { cpuMs }) => sum + cpuMs, 0);
}

/** Memory of a tree, in MB. */
export interface TreeMemory {
  /** Proportional: shared pages are divided among those that share them. */
  readonly pssMb: number;
  /** Private dirty pages of each process below the roots. */
  readonly privateMb: readonly number[];
}

/** Memory of the processes and all below them, now. */
export async function treeMemory(roots: readonly number[]): Promise<TreeMemory> {
  let pssMb = 0;
  const privateMb: number[] = [];
  for (const pid of (await readTree(roots)).keys()) {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
    pssMb += kilobytes('Pss') / 1024;
    if (!roots.includes(pid)) privateMb.push(kilobytes('Private_Dirty') / 1024);
  }
  return { pssMb, privateMb };
}

/** CPU time that the whole machine has used since it started, in ms. */
export async function machineCpuMs(): Promise<number> {
  const [line] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const [user, nice, system, , , irq, softirq, steal] = (line as string).trim().split(/\s+/).slice(1).map(Number);
  return [user, nice, system, irq, softirq, steal].reduce<number>((sum, each) => sum + (each ?? 0), 0) * TICK_MS;
}
