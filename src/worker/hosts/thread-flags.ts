/**
 * What of Node's flags a worker thread is given: those that a thread can have for itself. It refuses the others, which concern the whole process
 * (V8's, OpenSSL's, the process's title); they hold for it anyway.
 */
import { childEnvironment, flagName, splitNodeOptions } from './exec-argv.js';

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
