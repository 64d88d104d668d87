import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { constants, getPriority, setPriority } from 'node:os';
import { clearTimeout, setTimeout } from 'node:timers';
import { Serializer } from 'node:v8';
import { monotonicNow } from '../../core/index.js';
import { socketTransport } from '../codec/frames.js';
import { Link } from '../codec/link.js';
import { HELLO, INPUT_FD, OUTPUT_FD, type Progress, WATCHDOG_FD } from '../host/progress-board.js';
import { packageFile } from '../package-file.js';
import { childEnvironment, filterExecArgv } from './exec-argv.js';
import { StderrTail } from './host-exit.js';
import type { Host, HostExit, HostSettings } from './host.js';
import { CHILD_THREADS, hasControllingTerminal, isStarved, threadShortage } from './process-state.js';
import { reaper } from './reaper.js';

/** How long what a dead child wrote is waited for, in ms: a grandchild may hold the pipes open for ever. */
const LAST_WORDS_MS = 200;

/** How long a child may live on without its link, in ms: one that is about to end may have something to do first. */
const WITHOUT_LINK_MS = 2_000;

/** How long a child may say nothing before it is asked whether it could make its threads, in ms: Node waits for those of its own for ever. */
const MUTE_MS = 2_000;

/** How many threads a child still has to make when it says its first word, at the least. */
const STILL_WANTED = 3;

const RECORD_BYTES = 12;

/** How much nicer than its parent a child is. Less leaves the parent waiting for milliseconds; workers among themselves lose nothing. */
const NICENESS = 5;

/** What programs and libraries say when a thread is refused. */
const THREAD_REFUSED = /EAGAIN|Resource temporarily unavailable|pthread_create/;

/** Where a child's stdout goes: a descriptor of this process, or nowhere. */
const STDOUT_TO = { inherit: 2, split: 1, ignore: 'ignore' } as const;

/**
 * Starts a child process that waits for an `init` message. Its stdio: no stdin; stdout as the options say; stderr is read, so that its last lines
 * are known when it dies, and passed on; then the two descriptors of the link and the watchdog's.
 */
export function startProcessHost(options: HostSettings): Host {
  const execArgv = options.execArgv === undefined ? filterExecArgv(process.execArgv) : [...options.execArgv];
  if (options.heapMb !== undefined) execArgv.push(`--max-old-space-size=${options.heapMb}`);
  const shown = options.stdio !== 'ignore';
  requireSerializer();
  if (reaper.isOver) throw new Error('the thread that it would be a child of is ending');
  const entry = packageFile('worker/host/process-child.js');
  const program = options.execPath ?? ownProgram();
  const child = spawn(program, [...execArgv, entry], {
    // A session of its own: what the terminal sends to the parent's group never reaches it, also before it could say that it ignores it. Without a
    // terminal it stays in the parent's: Linux shares cores out by session first, and a caller whose workers are busy would wait for its turn.
    detached: process.platform !== 'win32' && hasControllingTerminal(),
    stdio: ['ignore', STDOUT_TO[options.stdio], 'pipe', 'pipe', 'pipe', 'pipe'],
    windowsHide: true,
    env: {
      // glibc keeps freed memory for each of a process's threads by itself, up to eight times the cores; one such store for all does as well, and
      // what one thread freed another can use.
      MALLOC_ARENA_MAX: '1',
      ...(options.threadPoolSize === undefined ? {} : { UV_THREADPOOL_SIZE: String(options.threadPoolSize) }),
      ...childEnvironment(options.env),
      // Without it the program would open as another copy of the app.
      ...(process.versions.electron === undefined ? {} : { ELECTRON_RUN_AS_NODE: '1' }),
      MILLRACE_PARENT_PID: String(process.pid),
    },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });

  const { pid } = child;
  if (pid === undefined) return unstartedHost(child, options.cwd);
  lowerPriority(pid);
  reaper.add(pid);
  // From now on another process may get the number, while output of this child is still to be read.
  child.once('exit', () => reaper.delete(pid));

  const tail = new StderrTail();
  const stderr = child.stderr as Socket;
  stderr.setEncoding('utf8');
  stderr.on('data', (text: string) => {
    tail.push(text);
    if (shown) process.stderr.write(text);
  });
  stderr.on('error', () => {});

  const startedAt = monotonicNow();
  let hasSpoken = false;
  let onStarted!: () => void;
  const started = new Promise<void>((resolve) => {
    onStarted = resolve;
  });
  let progress: { value: Progress; heardAt: number } | undefined;
  const pulse = pipeOf(child, WATCHDOG_FD);
  pulse.on('error', () => {});
  pulse.on('data', (bytes: Buffer) => {
    hasSpoken = true;
    onStarted();
    // Only the newest record counts. A record never arrives in pieces: it is far smaller than what a pipe writes at once.
    const at = bytes.length - (bytes.length % RECORD_BYTES) - RECORD_BYTES;
    if (at < 0) return;
    const value = {
      begun: bytes.readInt32LE(at),
      ended: bytes.readInt32LE(at + 4),
      latest: bytes.readInt32LE(at + 8),
    };
    if (value.begun === HELLO) return;
    progress = { value, heardAt: monotonicNow() };
  });

  let shortage: string | undefined;
  const lookAtStart = setTimeout(async () => {
    if (hasSpoken) return;
    shortage = explainShortage(await threadShortage(STILL_WANTED));
    if (shortage !== undefined) child.kill('SIGKILL');
  }, MUTE_MS);
  child.once('exit', () => clearTimeout(lookAtStart));

  // Nothing of an idle child holds the parent.
  lookAtStart.unref();
  child.unref();
  stderr.unref();
  pulse.unref();

  const [output, input] = [pipeOf(child, INPUT_FD), pipeOf(child, OUTPUT_FD)];
  // Nothing comes from there but its end.
  output.resume();
  const link = new Link(socketTransport(input, output));
  for (const socket of [input, output]) {
    socket.unref();
    // A model that has closed a descriptor of the link, or written to it, lives and shows progress, and nothing it is asked is answered.
    socket.once('close', () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const timer = setTimeout(() => child.kill('SIGKILL'), WITHOUT_LINK_MS).unref();
      child.once('exit', () => clearTimeout(timer));
    });
  }

  return {
    kind: 'process',
    pid,
    link,
    exited: waitForExit(child, [stderr, input, pulse], tail).then(async (exit) => {
      link.close();
      output.destroy();
      await reaper.quiet;
      const cause = shortage ?? (await explainEnd(exit, hasSpoken, program));
      return cause === undefined ? exit : { ...exit, cause: new Error(cause) };
    }),
    started,
    startedAt,
    progress: () => progress,
    isStarved: () => isStarved(pid),
    kill: () => void child.kill('SIGKILL'),
  };
}

/** Bun has the class, and no instances of it. */
function requireSerializer(): void {
  try {
    new Serializer();
  } catch (cause) {
    const { bun } = process.versions as Record<string, string | undefined>;
    const runtime = bun === undefined ? 'this runtime' : `Bun ${bun}`;
    throw new Error(`${runtime} has no v8.Serializer, by which processes are spoken to: use host 'thread'`, { cause });
  }
}

/** Why a child ended, where it could not say so itself. */
async function explainEnd(exit: HostExit, hasSpoken: boolean, program: string): Promise<string | undefined> {
  if (exit.exitCode === 0) {
    if (hasSpoken) return undefined;
    return `${program} ended without a word, so it is not Node: give the path of one as execPath, or use host 'thread'`;
  }
  const refusal = exit.stderr.find((line) => THREAD_REFUSED.test(line))?.trim();
  if (refusal === undefined && exit.signal !== 'SIGABRT') return undefined;
  return explainShortage(await threadShortage(CHILD_THREADS), refusal);
}

function explainShortage(found: string | undefined, refusal?: string): string | undefined {
  const why = found ?? refusal;
  return why === undefined ? undefined : `it could not make its threads: ${why}; a worker takes 20 to 30 of them`;
}

/** The program that runs this process, where it is a Node. */
function ownProgram(): string {
  const sea = process.getBuiltinModule?.('node:sea') as { isSea?(): boolean } | undefined;
  if (sea?.isSea?.() === true || 'pkg' in process) {
    throw new Error(
      `${process.execPath} is a single executable and no Node: give the path of one as execPath, or use host 'thread'`,
    );
  }
  return process.execPath;
}

/**
 * The caller's event loop goes first: it needs little, and a busy worker on the same core would keep it waiting for that. All threads of the
 * child inherit it, as none but the first is there yet. Niceness counts inside a session only, where Linux was built to share cores out by session:
 * there a session of the child's own is made nicer, too.
 */
function lowerPriority(pid: number): void {
  try {
    setPriority(pid, Math.min(constants.priority.PRIORITY_LOW, getPriority() + NICENESS));
  } catch {
    // Gone already, or not allowed here: it runs as it is.
  }
  if (process.platform === 'linux' && hasControllingTerminal())
    void writeFile(`/proc/${pid}/autogroup`, String(NICENESS)).catch(() => {});
}

function waitForExit(child: ChildProcess, pipes: readonly Socket[], tail: StderrTail): Promise<HostExit> {
  return new Promise((resolve) => {
    // A failed kill of a dying child is followed by its exit.
    child.on('error', () => {});
    child.once('exit', (exitCode, signal) => {
      const done = (): void => {
        clearTimeout(timer);
        for (const pipe of pipes) pipe.destroy();
        resolve({ exitCode, signal, stderr: tail.lines() });
      };
      const timer = setTimeout(done, LAST_WORDS_MS);
      void Promise.all(pipes.map(closed)).then(done);
    });
  });
}

/** Resolves once nothing more comes out of a pipe. */
function closed(pipe: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (pipe.readableEnded || pipe.destroyed) resolve();
    else pipe.once('close', () => resolve());
  });
}

/** This side of a child's descriptor. */
function pipeOf(child: ChildProcess, descriptor: number): Socket {
  return (child.stdio as readonly unknown[])[descriptor] as Socket;
}

/**
 * The host of a child process that the system did not start: its folder is not there, or there are too many files or processes. Nothing reaches
 * it, and it ends with the error that says why. On EMFILE, Node creates the child without stdio.
 */
function unstartedHost(child: ChildProcess, cwd: string | undefined): Host {
  const link = new Link({ canTransfer: false, send() {}, subscribe() {} });
  return {
    kind: 'process',
    pid: undefined,
    link,
    exited: new Promise((resolve) => {
      child.once('error', (error) => {
        link.close();
        // Of a folder that is not there Node says that its own executable is missing.
        const cause = cwd === undefined ? error : new Error(`${error.message} in ${cwd}`, { cause: error });
        resolve({ exitCode: null, signal: null, stderr: [], cause });
      });
    }),
    startedAt: monotonicNow(),
    progress: () => undefined,
    kill() {},
  };
}
