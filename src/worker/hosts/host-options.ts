import { describeReceived, requireOneOf, requirePositiveInteger, requireString } from '../../core/index.js';

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
