/** Whether a limit on processes and threads is why a child did not start: it can't say so itself, as what can't make its threads aborts or hangs. */
import { readdir, readFile } from 'node:fs/promises';

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
