/**
 * The kinds of containers in one go, by namespaces and control groups instead of Docker: as the first process, without a home, as any user, on a read-only
 * file system, killed and started again, in 300 MB. What this system does not let be tried is skipped by name.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import type { Need } from '../support/needs.js';
import { PHOTOS, ROOT } from './cli-process.js';

export const MAIN = path.join(ROOT, 'dist', 'cli', 'main.js');
const CAT = path.join(PHOTOS, 'cat-1.jpg');
export const EMBED = [process.execPath, MAIN, 'embed', CAT, '--out', '-', '--workers', '1'];
export const DOCTOR = [process.execPath, MAIN, 'doctor'];
const MEMORY = 300_000_000;

// Nobody's user id, and so without an entry in any file of users.
export const asAnyUser = ['setpriv', `--reuid=${50_000 + (process.pid % 10_000)}`, '--regid=50000', '--clear-groups'];
export const asPidOne = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
export const withoutHome = ['env', '-i', `PATH=${process.env.PATH}`];
// Everything that was there is still there, and can't be written.
export const readOnly = ['unshare', '--mount', 'sh', '-c', 'mount -o remount,bind,ro / && exec "$@"', 'sh'];

export const readable: Need = {
  name: 'a build that other users can read',
  isMet: () => {
    try {
      const [command, ...args] = [...asAnyUser, process.execPath, '-e', `fs.accessSync(${JSON.stringify(MAIN)})`];
      execFileSync(command as string, args, { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  },
};

/** A memory control group of 300 MB: version 1, or version 2 where that has the controller. */
export class MemoryGroup {
  readonly #folder: string;
  readonly #isOld: boolean;

  private constructor(folder: string, isOld: boolean) {
    this.#folder = folder;
    this.#isOld = isOld;
  }

  static make(): MemoryGroup | undefined {
    for (const [mount, file] of [
      ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
      ['/sys/fs/cgroup', 'memory.max'],
    ] as const) {
      const folder = `${mount}/millrace-test-${process.pid}`;
      try {
        if (!existsSync(`${mount}/cgroup.procs`)) continue;
        mkdirSync(folder);
        writeFileSync(`${folder}/${file}`, `${MEMORY}`);
        return new MemoryGroup(folder, file !== 'memory.max');
      } catch {
        if (existsSync(folder)) rmdirSync(folder);
      }
    }
    return undefined;
  }

  get starting(): readonly string[] {
    return ['sh', '-c', `echo $$ > ${this.#folder}/cgroup.procs && exec "$@"`, 'sh'];
  }

  /** How often something was refused or killed for want of memory. */
  get failures(): number {
    if (this.#isOld) return Number(readFileSync(`${this.#folder}/memory.failcnt`, 'utf8'));
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync(`${this.#folder}/memory.events`, 'utf8'))?.[1]);
  }

  remove(): void {
    rmdirSync(this.#folder);
  }
}

export const memoryGroups: Need = {
  name: 'control groups of memory (v1 or v2)',
  isMet() {
    const group = MemoryGroup.make();
    group?.remove();
    return group !== undefined;
  },
};

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program through others, which put it into its container. */
export function runIn(...words: readonly (readonly string[])[]): Promise<Ended> {
  const [command, ...args] = words.flat() as [string, ...string[]];
  const child = spawn(command, args, { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

export function expectEmbedded({ code, stdout, stderr }: Ended): void {
  const records = stdout.trim().split('\n');
  expect([code, records.length], stderr).toEqual([0, 1]);
  expect(JSON.parse(records[0] as string)).toMatchObject({ dim: 256 });
}
