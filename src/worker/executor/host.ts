import {
  describeReceived,
  oneOf,
  option,
  type OptionTable,
  positiveIntegerUpTo,
  requirePositiveInteger,
  requireString,
} from '../../core/index.js';
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
  /** Called when it has preloaded its module; set where a worker takes it over before it has. */
  readonly onPreloaded?: (() => void) | undefined;
  /** When it was started, in ms of `monotonicNow`. */
  readonly startedAt: number;
  /** What the model's thread last showed of itself, and when that was heard (ms of `monotonicNow`); undefined before the first sign. */
  progress(): { readonly value: Progress; readonly heardAt: number } | undefined;
  /** Whether it is silent for want of a core, a disk or memory, and was not stopped; undefined where nothing tells. */
  isStarved?(): Promise<boolean | undefined>;
  /** Ends it at once, whatever it is doing: a process by SIGKILL, which also ends one that was stopped. */
  kill(): void;
}

/**
 * What becomes of what a worker prints. `'inherit'` shows all of it on the parent's stderr: the parent's stdout may be its output, or a protocol.
 * `'split'` shows stdout on the parent's stdout and stderr on its stderr, `'ignore'` drops both.
 */
export type WorkerStdio = 'inherit' | 'split' | 'ignore';

/** How a thread or a child process is started. */
export interface HostOptions {
  /** Environment of the worker; the parent's by default. `NODE_OPTIONS` loses its inspector flags either way. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Node flags; by default the parent's, without inspector ports and those that say what the parent itself runs. */
  readonly execArgv?: readonly string[] | undefined;
  /** Working directory (process host only). */
  readonly cwd?: string | undefined;
  /**
   * The program that runs the worker, a Node (process host only). By default the one that runs this process; in Electron that one as Node. A single
   * executable is no Node: there it has to be given.
   */
  readonly execPath?: string | undefined;
  /** Limit of the worker's JavaScript heap, in MB. Native memory is not part of it. */
  readonly heapMb?: number | undefined;
  /** Threads of libuv's pool, for files, name lookups and addons: `UV_THREADPOOL_SIZE`, unless `env` sets it (process host only). 4 by default. */
  readonly threadPoolSize?: number | undefined;
  /** What becomes of what the worker prints, `'inherit'` by default. Its last stderr lines are kept either way. */
  readonly stdio?: WorkerStdio | undefined;
}

/** The options of a host, checked and filled. */
export interface HostSettings extends HostOptions {
  readonly stdio: WorkerStdio;
}

export const HOST_OPTIONS: OptionTable<HostSettings> = {
  env: option(requireEnvironment),
  execArgv: option(requireFlags),
  cwd: option(requireString),
  execPath: option(requireString),
  heapMb: option<number | undefined>(requirePositiveInteger),
  threadPoolSize: option(positiveIntegerUpTo(1_024)),
  stdio: option<WorkerStdio>(oneOf(['inherit', 'split', 'ignore']), 'inherit'),
};

/** Checks the URL of a module, and answers it as text. */
export function requireModuleUrl(action: string, name: string, module: unknown): string {
  const { href } = Object(module) as { readonly href?: unknown };
  // Also of another realm.
  const text = requireString(action, name, typeof module === 'object' && typeof href === 'string' ? href : module);
  if (!URL.canParse(text)) {
    throw new TypeError(
      `${action}: module must be a URL such as new URL('./model.js', import.meta.url), received '${text}'`,
    );
  }
  return text;
}

function requireEnvironment(action: string, name: string, env: unknown): Readonly<Record<string, string | undefined>> {
  if (typeof env !== 'object' || env === null || Array.isArray(env)) {
    throw new TypeError(`${action}: ${name} must be an object, received ${describeReceived(env)}`);
  }
  for (const [key, value] of Object.entries(env)) {
    if (value !== undefined) requireText(action, `${name}.${key}`, value);
  }
  return { ...env };
}

function requireFlags(action: string, name: string, flags: unknown): readonly string[] {
  if (!Array.isArray(flags)) {
    throw new TypeError(`${action}: ${name} must be an array of strings, received ${describeReceived(flags)}`);
  }
  return flags.map((flag, index) => requireText(action, `${name}[${index}]`, flag));
}

function requireText(action: string, name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new TypeError(`${action}: ${name} must be a string, received ${describeReceived(value)}`);
}
