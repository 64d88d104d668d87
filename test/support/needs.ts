/** Tests that need more than Node and npm: `npm test` names and counts those it did not run, `MILLRACE_REQUIRE_ALL=1` makes each a failure. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'vitest';

/** What a test needs beside Node and npm, and how to tell whether this machine has it. */
export interface Need {
  /** As it stands in the name of a skipped test: `pid namespaces`, `openssl`. */
  readonly name: string;
  isMet(): boolean;
  /** A variable that, set to 1, makes it a failure to lack this one. */
  readonly requiredBy?: string;
}

/** Whether a program runs with these arguments and exits with 0. */
function runs(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore', timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

export const root: Need = { name: 'root', isMet: () => process.getuid?.() === 0 };
export const linux: Need = { name: 'Linux', isMet: () => process.platform === 'linux' };
export const posix: Need = { name: 'a POSIX system', isMet: () => process.platform !== 'win32' };

/** A pid namespace of one's own, in which the first process is pid 1. */
export const pidNamespaces: Need = {
  name: 'pid namespaces (unshare)',
  isMet: () => runs('unshare', ['--pid', '--fork', '--mount-proc', 'true']),
};

/** Mounts in a namespace of one's own: tmpfs, read-only binds. */
export const mountNamespaces: Need = {
  name: 'mount namespaces (unshare)',
  isMet: () => runs('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs none /mnt']),
};

/** A network of one's own, with no way out. */
export const networkNamespaces: Need = {
  name: 'network namespaces (unshare)',
  isMet: () => runs('unshare', ['--net', 'true']),
};

/** A program on the PATH; with arguments, one that runs with these. It is not started to be found: a loaded machine may take long for that. */
export function program(name: string, ...args: readonly string[]): Need {
  return { name, isMet: () => (args.length === 0 ? isOnPath(name) : runs(name, args)) };
}

function isOnPath(name: string): boolean {
  return (process.env.PATH ?? '').split(path.delimiter).some((folder) => {
    try {
      accessSync(path.join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const met = new Map<string, boolean>();

/** The needs that this machine does not meet. Each is asked once a test file. */
function unmet(needs: readonly Need[]): Need[] {
  return needs.filter((need) => {
    const isMet = met.get(need.name) ?? need.isMet();
    met.set(need.name, isMet);
    return !isMet;
  });
}

const requiresAll = process.env.MILLRACE_REQUIRE_ALL === '1';

/** Whether the lack of these is a failure. */
function isRequired(lacking: readonly Need[]): boolean {
  return requiresAll || lacking.some(({ requiredBy }) => requiredBy !== undefined && process.env[requiredBy] === '1');
}

function namesOf(needs: readonly Need[]): string {
  return needs.map(({ name }) => name).join(', ');
}

/** `test`, where every need is met; else a skipped test whose name says what it needs, or a failure under `MILLRACE_REQUIRE_ALL=1`. */
export function testNeeding(...needs: readonly Need[]): (name: string, run: () => unknown, timeoutMs?: number) => void {
  return (name, run, timeoutMs) => {
    const lacking = unmet(needs);
    if (lacking.length === 0) test(name, run as () => Promise<void>, timeoutMs);
    else if (isRequired(lacking)) test(name, () => fail(lacking));
    else test.skip(`${name} [needs ${namesOf(lacking)}]`, () => undefined);
  };
}

/** `describe`, where every need is met; the like of {@link testNeeding} for a group that shares a set-up. */
export function describeNeeding(...needs: readonly Need[]): (name: string, define: () => void) => void {
  return (name, define) => {
    const lacking = unmet(needs);
    if (lacking.length === 0) describe(name, define);
    else if (isRequired(lacking)) test(name, () => fail(lacking));
    else describe.skip(`${name} [needs ${namesOf(lacking)}]`, define);
  };
}

function fail(lacking: readonly Need[]): never {
  const variable = lacking.find(({ requiredBy }) => requiredBy !== undefined)?.requiredBy;
  const asks =
    requiresAll || variable === undefined
      ? 'MILLRACE_REQUIRE_ALL=1 asks for every test'
      : `${variable}=1 asks for its tests`;
  throw new Error(`This machine has no ${lacking.map(({ name }) => name).join(', no ')}, and ${asks}`);
}
