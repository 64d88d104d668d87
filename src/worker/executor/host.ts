import { describeReceived, requireOneOf, requirePositiveInteger, requireString } from '../../core/index.js';
import type { Link } from '../codec/link.js';
import type { Progress } from '../host/progress-board.js';

/** How a host came to its end. */
export interface HostExit {
  /** The exit code, or null when a signal ended it. */
  readonly exitCode: number | null;
  /** The signal, or null when it exited by itself. */
  readonly signal: string | null;
  /** The last lines that it wrote to stderr. */
  readonly stderr: readonly string[];
  /** What the host itself reported, where it could: a thread's uncaught error, a failed start. */
  readonly cause?: unknown;
}

/** A thread or a process that runs one model, as its parent sees it. It never holds the parent's event loop. */
export interface Host {
  readonly kind: 'thread' | 'process';
  readonly pid: number | undefined;
  readonly link: Link;
  /** Settles once it is gone; never rejects. */
  readonly exited: Promise<HostExit>;
  /** Resolves when its program runs, and is about to load its model; undefined for one that is known to run. */
  readonly started?: Promise<void> | undefined;
  /** When it was started, in ms of `monotonicNow`. */
  readonly startedAt: number;
  /** What the model's thread last showed of itself, and when that was heard (ms of `monotonicNow`); undefined before the first sign. */
  progress(): { readonly value: Progress; readonly heardAt: number } | undefined;
  /** Whether it is silent for want of a core, a disk or memory, and was not stopped; undefined where nothing tells. */
  isStarved?(): Promise<boolean | undefined>;
  /** Ends it at once, whatever it is doing: a process by SIGKILL, which also ends one that was stopped. */
  kill(): void;
}

/** How a thread or a child process is started. Validated by `spawnWorker`. */
export interface HostOptions {
  /** Environment of the worker; the parent's when undefined. `NODE_OPTIONS` is filtered either way. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Node flags; when undefined the parent's, less inspector ports and those that say what the parent itself runs. */
  readonly execArgv?: readonly string[] | undefined;
  /** Working directory (process host only). */
  readonly cwd?: string | undefined;
  /** The program that runs a process host, a Node; the one that runs this process when undefined. */
  readonly execPath?: string | undefined;
  /** Limit of the JavaScript heap, in MB. Native memory is not part of it. */
  readonly memoryMb?: number | undefined;
  /** Threads of libuv's pool, unless the environment sets them (process host only); 4 when undefined. */
  readonly threadPoolSize?: number | undefined;
  /** What becomes of what the worker prints. The last stderr lines are kept either way. */
  readonly stdio: WorkerStdio;
}

/**
 * What becomes of what a worker prints. `'inherit'` shows all of it on the parent's stderr: the parent's stdout may be its output, or a protocol.
 * `'split'` shows stdout on the parent's stdout and stderr on its stderr, `'ignore'` drops both.
 */
export type WorkerStdio = 'inherit' | 'split' | 'ignore';

/** What of the options of a host comes from outside, unchecked. */
export interface GivenHostOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly execArgv?: readonly string[] | undefined;
  readonly cwd?: string | undefined;
  readonly execPath?: string | undefined;
  readonly memoryMb?: number | undefined;
  readonly threadPoolSize?: number | undefined;
  readonly stdio?: WorkerStdio | undefined;
}

/** Checks how a host is to be started. */
export function requireHostOptions(action: string, given: GivenHostOptions): HostOptions {
  return {
    env: given.env === undefined ? undefined : requireEnvironment(action, given.env),
    execArgv: given.execArgv === undefined ? undefined : requireFlags(action, given.execArgv),
    cwd: given.cwd === undefined ? undefined : requireString(action, 'cwd', given.cwd),
    execPath: given.execPath === undefined ? undefined : requireString(action, 'execPath', given.execPath),
    memoryMb: given.memoryMb === undefined ? undefined : requirePositiveInteger(action, 'memoryMb', given.memoryMb),
    threadPoolSize:
      given.threadPoolSize === undefined
        ? undefined
        : requirePositiveInteger(action, 'threadPoolSize', given.threadPoolSize, 1_024),
    stdio:
      given.stdio === undefined
        ? 'inherit'
        : requireOneOf(action, 'stdio', given.stdio, ['inherit', 'split', 'ignore']),
  };
}

/** Checks the URL of a module, and answers it as text. */
export function requireModuleUrl(action: string, module: URL | string): string {
  // Also of another realm.
  if (typeof module === 'object' && typeof module?.href === 'string') return requireModuleUrl(action, module.href);
  const text = requireString(action, 'module', module);
  if (!URL.canParse(text)) {
    throw new TypeError(
      `${action}: module must be a URL such as new URL('./model.js', import.meta.url), received '${text}'`,
    );
  }
  return text;
}

function requireEnvironment(action: string, env: unknown): Readonly<Record<string, string | undefined>> {
  if (typeof env !== 'object' || env === null || Array.isArray(env)) {
    throw new TypeError(`${action}: env must be an object, received ${describeReceived(env)}`);
  }
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined) requireText(action, `env.${name}`, value);
  }
  return { ...env };
}

function requireFlags(action: string, flags: unknown): readonly string[] {
  if (!Array.isArray(flags)) {
    throw new TypeError(`${action}: execArgv must be an array of strings, received ${describeReceived(flags)}`);
  }
  return flags.map((flag, index) => requireText(action, `execArgv[${index}]`, flag));
}

function requireText(action: string, name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new TypeError(`${action}: ${name} must be a string, received ${describeReceived(value)}`);
}
