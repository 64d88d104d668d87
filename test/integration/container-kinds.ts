/**
 * Kinds of containers, by namespaces and control groups instead of Docker: as the first process, without a home, as any user, on a read-only file
 * system, killed and started again, in 300 MB.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import type { Need } from '../support/needs.js';
import { until } from '../support/until.js';
import { countLines, type Ended, MAIN, PHOTOS, readRecords, runProgram } from './cli-process.js';

const CAT = path.join(PHOTOS, 'cat-1.jpg');
export const EMBED = [process.execPath, MAIN, 'embed', CAT, '--out', '-', '--workers', '1'];
export const DOCTOR = [process.execPath, MAIN, 'doctor'];
const MEMORY = 300_000_000;

// A user id without an entry in any user database.
export const asAnyUser = ['setpriv', `--reuid=${50_000 + (process.pid % 10_000)}`, '--regid=50000', '--clear-groups'];
export const asPidOne = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
export const withoutHome = ['env', '-i', `PATH=${process.env.PATH}`];
// All files stay, and none can be written.
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

  /** How many allocations failed, or processes were killed, for lack of memory. */
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

/** Runs a program through others, which put it into its container. */
export const runIn = (...words: readonly (readonly string[])[]): Promise<Ended> =>
  runProgram(words.flat(), { cwd: '/' });

export function expectEmbedded({ code, stdout, stderr }: Ended): void {
  const records = stdout.trim().split('\n');
  expect([code, records.length], stderr).toEqual([0, 1]);
  expect(JSON.parse(records[0] as string)).toMatchObject({ dim: 256 });
}

/**
 * Kills a run in one container and resumes it in another, which must take over the lock of the first.
 *
 * @param ageMs How much older the lock is made, of the half minute after which it counts as stale.
 */
export async function killAndResume(folder: string, ageMs: number): Promise<void> {
  const out = path.join(folder, 'killed.jsonl');
  const embed = [process.execPath, MAIN, 'embed', PHOTOS, '--out', out, '--workers', '1', '--resume'];
  const [command, ...args] = [...asPidOne, ...embed] as [string, ...string[]];
  const first = spawn(command, args, { stdio: 'ignore' });
  await until('a first record', async () => (await countLines(out)) > 0 || undefined);
  const closed = new Promise((resolve) => first.once('close', resolve));
  first.kill('SIGKILL');
  await closed;
  const touchedAt = new Date(Date.now() - ageMs);
  await utimes(`${out}.lock`, touchedAt, touchedAt).catch(() => {});
  const second = await runIn(asPidOne, embed);
  expect(second.code, second.stderr).toBe(0);
  const paths = (await readRecords(out)).map((record) => record.path);
  expect(new Set(paths).size).toBe(paths.length);
  expect(paths.length).toBeGreaterThanOrEqual(20);
}
