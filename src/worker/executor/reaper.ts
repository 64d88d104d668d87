import { type ChildProcess, spawn } from 'node:child_process';
import { clearInterval, setInterval } from 'node:timers';
import { isMainThread } from 'node:worker_threads';

/** Longer than any child takes to be killed. */
const HOLD_MS = 60_000;

/**
 * What deals with a child that is stopped (SIGSTOP, or Ctrl-Z in a shell) when its parent dies: no thread of a stopped process runs, its watchdog
 * neither, and nothing but SIGKILL from outside ends it. So one small shell per parent process holds the list of living children; it reads it
 * from a pipe, and when the pipe ends, because the parent is gone in whatever way, it kills what is on the list and ends.
 *
 * It is a second means: a running child is ended by its own watchdog. Without `/bin/sh` it is absent (Windows has no SIGSTOP either).
 *
 * In a worker thread it also ends the children with the thread. Only a thread's own loop collects the exit of what the thread has started, so what
 * ends after it stays a zombie for as long as the process lives: a thread that runs out of work is held until all of it is collected.
 */
class Reaper {
  readonly #children = new Set<number>();
  #shell: ChildProcess | undefined;
  /** Settles when the shell that was last told to end has ended. */
  #quiet: Promise<void> = Promise.resolve();
  #isWatching = false;
  #isOver = false;
  /** Holds a thread that has run out of work until its children are collected. */
  #hold: NodeJS.Timeout | undefined;

  /** Whether this thread has run out of work: what is started now would be a zombie. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves when nothing is left to collect but living children. */
  get quiet(): Promise<void> {
    return this.#quiet;
  }

  add(pid: number): void {
    this.#children.add(pid);
    if (!isMainThread) this.#watchThread();
    if (process.platform === 'win32') return;
    if (this.#shell === undefined) this.#start();
    else this.#shell.stdin?.write(`+ ${pid}\n`);
  }

  delete(pid: number): void {
    if (!this.#children.delete(pid)) return;
    // Told before the operating system could give the number to another process for long.
    this.#shell?.stdin?.write(`- ${pid}\n`);
    if (this.#children.size > 0) return;
    const shell = this.#shell;
    this.#shell = undefined;
    if (shell !== undefined) {
      shell.stdin?.end();
      if (!isMainThread) this.#quiet = ended(shell);
    }
    if (this.#hold !== undefined) void this.#quiet.then(() => clearInterval(this.#hold));
  }

  #watchThread(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    process.once('exit', () => this.#killAll());
    process.once('beforeExit', () => {
      if (this.#children.size === 0) return;
      this.#isOver = true;
      this.#hold = setInterval(() => {}, HOLD_MS);
      this.#killAll();
    });
  }

  #killAll(): void {
    for (const pid of this.#children) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
    }
  }

  #start(): void {
    const shell = spawn('/bin/sh', ['-c', script], {
      stdio: ['pipe', 'ignore', 'ignore'],
      // A session of its own: what the terminal sends to the parent's group does not reach it.
      detached: true,
      env: {},
    });
    this.#shell = shell;
    const gone = (): void => {
      if (this.#shell === shell) this.#shell = undefined;
    };
    shell.on('error', gone);
    shell.on('exit', gone);
    shell.stdin?.on('error', gone);
    shell.unref();
    (shell.stdin as unknown as { unref?(): void } | null)?.unref?.();
    for (const pid of this.#children) shell.stdin?.write(`+ ${pid}\n`);
  }
}

function ended(shell: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    shell.once('exit', () => resolve());
    shell.once('error', () => resolve());
  });
}

const script = `trap '' INT TERM HUP
pids=
while read -r what pid; do
  case $what in
    +) pids="$pids $pid" ;;
    -) left=
       for each in $pids; do [ "$each" = "$pid" ] || left="$left $each"; done
       pids=$left ;;
  esac
done
[ -z "$pids" ] || kill -KILL $pids 2>/dev/null`;

/** The one reaper of this process. */
export const reaper: Reaper = new Reaper();
