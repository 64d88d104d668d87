/** The Linux control groups (v1 and v2) that bind this process: where their limits are written. */
import { readFileSync } from 'node:fs';

/** Reads a small system file; undefined when there is none. Replaced in tests. */
export type ReadSystemFile = (path: string) => string | undefined;

/** Reads files of the system. */
export const readSystemFile: ReadSystemFile = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/** A folder of a control group, and which version's file names it uses. */
export interface ControlGroup {
  readonly folder: string;
  readonly version: 1 | 2;
}

/**
 * The groups that bind this process for a controller, each with all groups above it: the limits of all of them hold. Inside a container the path may
 * name a group that is not mounted: the root then holds the container's own limit.
 */
export function controlGroups(controller: 'memory' | 'cpu', read: ReadSystemFile): ControlGroup[] {
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
