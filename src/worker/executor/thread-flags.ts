/**
 * What of Node's flags a worker thread is given. Given none, it has those of the process. Given some, it has those and no others, and refuses the ones that
 * concern the whole process (V8's, OpenSSL's, the process's title), which hold for it anyway.
 */
import { childEnvironment, filterExecArgv, flagName, splitNodeOptions } from './exec-argv.js';

const withValue = new Set(['--import', '--require', '-r', '--loader', '--experimental-loader', '--conditions', '-C']);

const threadable = new Set([
  ...withValue,
  '--disable-warning',
  '--dns-result-order',
  '--enable-source-maps',
  '--experimental-default-type',
  '--experimental-detect-module',
  '--experimental-import-meta-resolve',
  '--experimental-require-module',
  '--experimental-specifier-resolution',
  '--experimental-strip-types',
  '--experimental-transform-types',
  '--experimental-vm-modules',
  '--experimental-wasm-modules',
  '--max-http-header-size',
  '--no-addons',
  '--no-deprecation',
  '--no-experimental-detect-module',
  '--no-experimental-require-module',
  '--no-warnings',
  '--pending-deprecation',
  '--preserve-symlinks',
  '--throw-deprecation',
  '--trace-deprecation',
  '--trace-uncaught',
  '--trace-warnings',
  '--unhandled-rejections',
]);

/**
 * The flags that a thread is started with; undefined where it is to have those of the process, which is more than it can be given.
 *
 * @param given The flags that were asked for, if any.
 * @param own Those of the process: a thread can't have them where some say what the process itself runs.
 */
export function flagsForThread(given: readonly string[] | undefined, own: readonly string[]): string[] | undefined {
  if (given !== undefined) return threadFlags(given);
  const inherited = filterExecArgv(own);
  return inherited.length === own.length ? undefined : threadFlags(inherited);
}

/**
 * Filters the flags of a Node command line for a thread.
 *
 * @param argv Flags as in `process.execArgv`.
 */
export function threadFlags(argv: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] as string;
    const name = flagName(word);
    const next = argv[index + 1];
    const hasNext = !word.includes('=') && next !== undefined && !next.startsWith('-');
    if (!threadable.has(name)) continue;
    kept.push(word);
    if (hasNext && withValue.has(name)) {
      kept.push(next);
      index++;
    }
  }
  return kept;
}

/** The environment of a thread that is given one of its own: as a child's, but Node refuses a thread whose `NODE_OPTIONS` concern the process. */
export function threadEnvironment(env: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  const result = childEnvironment(env);
  const options = threadFlags(splitNodeOptions(result.NODE_OPTIONS));
  if (options.length > 0) result.NODE_OPTIONS = options.join(' ');
  else delete result.NODE_OPTIONS;
  return result;
}
