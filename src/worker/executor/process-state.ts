import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

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

let known: boolean | undefined;

/**
 * Whether a terminal can send this process signals: Ctrl-C reaches the whole foreground group, also where all three standard streams are redirected.
 * Linux tells in a kernel file, which is read once, beside a fork, which is synchronous itself. Where the system does not tell, it is assumed.
 */
export function hasControllingTerminal(): boolean {
  known ??= readTerminal();
  return known;
}

function readTerminal(): boolean {
  if (process.platform !== 'linux') return true;
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // The name of the program, in parentheses, may have blanks in it. Then: state, parent, group, session, terminal.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[4] !== '0';
  } catch {
    return true;
  }
}

/** What a child takes beside those that come later, such as a decoder's. */
export const CHILD_THREADS = 16;

/**
 * Says how many processes and threads are allowed and there, when fewer than `wanted` more would be allowed. Undefined where the system does not tell.
 */
export async function threadShortage(wanted: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined;
  return (await shortageOfGroup(wanted)) ?? (await shortageOfUser(wanted));
}

/** Of a container, whose own control group is mounted as the root. */
async function shortageOfGroup(wanted: number): Promise<string | undefined> {
  for (const folder of ['/sys/fs/cgroup', '/sys/fs/cgroup/pids']) {
    const limit = Number(await read(`${folder}/pids.max`));
    const there = Number(await read(`${folder}/pids.current`));
    if (limit > 0 && there + wanted > limit) {
      return `the container (control group) may have ${limit} processes and threads (pids.max), and has ${there}`;
    }
  }
  return undefined;
}

async function shortageOfUser(wanted: number): Promise<string | undefined> {
  const uid = process.getuid?.();
  if (uid === undefined || uid === 0) return undefined;
  const limit = Number(/^Max processes +(\d+)/m.exec((await read('/proc/self/limits')) ?? '')?.[1]);
  if (!(limit > 0)) return undefined;
  let there = 0;
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const status = await read(`/proc/${name}/status`);
    if (Number(/^Uid:\s+(\d+)/m.exec(status ?? '')?.[1]) === uid) {
      there += Number(/^Threads:\s+(\d+)/m.exec(status ?? '')?.[1] ?? 0);
    }
  }
  if (there + wanted <= limit) return undefined;
  return `this user may have ${limit} processes and threads (ulimit -u), and has ${there}`;
}

async function read(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return undefined;
  }
}
