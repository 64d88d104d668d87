import { type ChildProcess, spawn } from 'node:child_process';

/**
 * What deals with a child that is stopped (SIGSTOP, or Ctrl-Z in a shell) when its parent dies: no thread of a stopped process runs, its watchdog
 * neither, and nothing but SIGKILL from outside ends it. So one small shell per parent process holds the list of living children; it reads it
 * from a pipe, and when the pipe ends, because the parent is gone in whatever way, it kills what is on the list and ends.
 *
 * It is a second means: a running child is ended by its own watchdog. Where there is no `/bin/sh` (Windows has no SIGSTOP either) it is absent.
 */
class Reaper {
  readonly #children = new Set<number>();
  #shell: ChildProcess | undefined;

  add(pid: number): void {
    if (process.platform === 'win32') return;
    this.#children.add(pid);
    if (this.#shell === undefined) this.#start();
    else this.#shell.stdin?.write(`+ ${pid}\n`);
  }

  delete(pid: number): void {
    if (!this.#children.delete(pid)) return;
    // Told before the operating system could give the number to anybody else's process for long.
    this.#shell?.stdin?.write(`- ${pid}\n`);
    if (this.#children.size > 0) return;
    this.#shell?.stdin?.end();
    this.#shell = undefined;
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
