/**
 * Locks between processes: a file that names its holder.
 *
 * Invariants: a lock appears whole and exclusively, by a link, so it has one holder. What a dead holder left is replaced and never removed:
 * the process that makes the guard, a lock named after the dead holder's text, renames it over the lock while that still holds this text. No other
 * process may, so exactly one has it, wherever the others are paused. A guard whose maker died is taken over in the same way.
 *
 * A process of this machine is known by its number and its start: it keeps the lock while it lives, paused or not, and loses it by its death.
 * So is one in another container of this machine, where all processes can be seen. Of any other only the age of the lock is known, which its holder
 * touches.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  constants,
  copyFile,
  link,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { clearInterval, setInterval } from 'node:timers';
import { setTimeout as delay } from 'node:timers/promises';
import { makeFolder } from './file-system.js';

/** A lock of which nothing but its age is known is left over when it was not touched for this long, in ms. */
export const STALE_MS = 30_000;
const TOUCH_MS = 5_000;
const LOOK_MS = 100;

/** Who has a lock, as far as it says. */
export interface LockHolder {
  readonly pid?: number | undefined;
  readonly host?: string | undefined;
  /** When its lock was touched last, in ms since 1970, where only that tells whether it lives. */
  readonly touchedAt?: number | undefined;
}

/** What a lock says. */
interface LockText extends LockHolder {
  /** Where process numbers mean the same. */
  readonly machine?: string | undefined;
  /** When the process began, in the system's own count. */
  readonly start?: string | undefined;
}

/** A lock that is held. */
export class FileLock {
  readonly #file: string;
  readonly #text: string;
  readonly #touch: NodeJS.Timeout;

  private constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
    this.#touch = setInterval(() => {
      const now = new Date();
      utimes(file, now, now).catch(() => undefined);
    }, TOUCH_MS);
    this.#touch.unref();
  }

  /** Takes a lock, or answers who has it. */
  static async tryTake(file: string): Promise<FileLock | LockHolder> {
    const text = await ownText();
    return (await acquire(file, text)) ?? new FileLock(file, text);
  }

  /** Gives it back. */
  async release(): Promise<void> {
    clearInterval(this.#touch);
    // It is another holder's, if another machine took this process for dead.
    if ((await readFile(this.#file, 'utf8').catch(() => '')) === this.#text) await rm(this.#file, { force: true });
  }
}

/** Runs something while no other process does, for one file, whose lock lies beside it. */
export async function withFileLock<T>(
  file: string,
  signal: AbortSignal | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const name = `${file}.lock`;
  await makeFolder(path.dirname(name));
  for (;;) {
    signal?.throwIfAborted();
    const lock = await FileLock.tryTake(name);
    if (lock instanceof FileLock) {
      try {
        return await run();
      } finally {
        await lock.release();
      }
    }
    await delay(LOOK_MS, undefined, signal === undefined ? {} : { signal });
  }
}

/**
 * Writes a text into a lock; answers who has it when that is another.
 *
 * @param named What guards are named after: the lock itself, also for the guard of a guard, so that names stay short however many takers were
 *   killed one after another.
 */
async function acquire(file: string, text: string, named: string = file): Promise<LockHolder | undefined> {
  for (;;) {
    if (await create(file, text)) return undefined;
    const found = await look(file);
    if (found === undefined) continue;
    if (found.isHeld) return found.holder;
    const what = `${path.basename(file)}\0${found.text}`;
    const guard = `${named}.${createHash('sha1').update(what).digest('hex').slice(0, 12)}`;
    const taker = await acquire(guard, text, named);
    if (taker !== undefined) return taker;
    let isReplaced = false;
    try {
      const now = await look(file);
      if (now?.text === found.text && !now.isHeld) {
        await rename(guard, file);
        isReplaced = true;
        return undefined;
      }
    } finally {
      if (!isReplaced) await rm(guard, { force: true });
    }
  }
}

/** Makes a file with its content; answers false when there is one. */
async function create(file: string, text: string): Promise<boolean> {
  const draft = `${file}.${randomUUID()}`;
  try {
    await writeFile(draft, text, { flag: 'wx' });
    await link(draft, file).catch(async (error: unknown) => {
      if (codeOf(error) === 'EEXIST') throw error;
      // A file system without links: for a moment the lock is there and empty, as old as it is.
      await copyFile(draft, file, constants.COPYFILE_EXCL);
    });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

interface Found {
  readonly text: string;
  readonly holder: LockHolder;
  readonly isHeld: boolean;
}

/** What a lock says; undefined when there is none. */
async function look(file: string): Promise<Found | undefined> {
  try {
    const text = await readFile(file, 'utf8');
    const { mtimeMs } = await stat(file);
    const holder = parse(text);
    const isKnownAlive = await isAlive(holder);
    if (isKnownAlive !== undefined) return { text, holder, isHeld: isKnownAlive };
    return { text, holder: { ...holder, touchedAt: mtimeMs }, isHeld: Date.now() - mtimeMs <= STALE_MS };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parse(text: string): LockText {
  try {
    return Object(JSON.parse(text)) as LockText;
  } catch {
    return {};
  }
}

let own: Promise<LockText> | undefined;

/** What this process writes into a lock: never the same twice. */
async function ownText(): Promise<string> {
  own ??= Promise.all([machineId(), startOf(process.pid)]).then(([machine, start]) => ({
    pid: process.pid,
    host: hostname(),
    machine,
    ...(start === undefined ? {} : { start }),
  }));
  return `${JSON.stringify({ ...(await own), id: randomUUID() })}\n`;
}

/** On Linux this boot and this namespace of process numbers, which containers of one name don't share. */
async function machineId(): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()} ${await readlink('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

/** When a process began, or that it has ended and is a zombie; undefined when it is no more, or the system does not say. */
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name, in parentheses, may hold anything; the state is the first field behind it and the start the twentieth.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return /^[ZX]$/.test(fields[0] ?? '') ? 'ended' : fields[19];
}

/** Whether a holder lives; undefined when that can't be known. */
async function isAlive(holder: LockText): Promise<boolean | undefined> {
  const { pid, machine, start } = holder;
  if (pid === undefined || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
  const here = await machineId();
  if (machine !== here) return await isAliveInside(holder, here);
  const began = await startOf(pid);
  if (began !== undefined && start !== undefined) return began === start;
  try {
    process.kill(pid, 0);
    return undefined;
  } catch (error) {
    return codeOf(error) === 'ESRCH' ? false : undefined;
  }
}

/** The first namespace of process numbers, from which every process of the machine can be seen. */
const FIRST_NAMESPACE = 'pid:[4026531836]';

/** Whether a holder in another container of this machine lives; undefined when that can't be seen from here. */
async function isAliveInside({ pid, machine, start }: LockText, here: string): Promise<boolean | undefined> {
  const [boot, namespace] = here.split(' ');
  const isHere = typeof machine === 'string' && machine.split(' ')[0] === boot;
  if (namespace !== FIRST_NAMESPACE || !isHere || start === undefined) return undefined;
  try {
    // Where processes of others are hidden, so is the first one.
    await readFile('/proc/1/status');
    for (const outer of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      // Its numbers in all namespaces that it is in, its own one last.
      const [, numbers = ''] = /^NSpid:\s*(.*)$/m.exec(await statusOf(outer)) ?? [];
      const inside = numbers.split(/\s+/).slice(1).at(-1);
      if (inside === String(pid) && (await startOf(Number(outer))) === start) return true;
    }
    return false;
  } catch {
    return undefined;
  }
}

/** Empty for a process that has ended meanwhile. */
async function statusOf(pid: string): Promise<string> {
  return await readFile(`/proc/${pid}/status`, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return '';
    throw error;
  });
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
