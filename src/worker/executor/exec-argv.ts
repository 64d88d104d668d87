/**
 * What of the parent's Node flags a child is given. Loaders, conditions, V8 flags and the rest are passed on, because a model module may need
 * them; left out on purpose are the flags that would open a second inspector on the same port, and those that say what the parent itself runs.
 */

// Flags that are dropped, and whose value may be the next word.
const droppedWithValue = new Set([
  '--inspect-port',
  '--debug-port',
  '--inspect-publish-uid',
  '--watch-path',
  '--test-name-pattern',
  '--test-reporter',
  '--test-reporter-destination',
  '--eval',
  '-e',
  '--print',
  '-p',
  '-pe',
  '--input-type',
  '--run',
]);

const dropped = new Set([
  ...droppedWithValue,
  '--inspect',
  '--inspect-brk',
  '--inspect-wait',
  '--watch',
  '--watch-preserve-output',
  '--test',
  '--test-only',
  '--check',
  '-c',
  '--interactive',
  '-i',
]);

/** The name of a flag, as the lists here have it: without its value, and with dashes for the underscores that Node takes as well. */
function flagName(word: string): string {
  const name = word.includes('=') ? word.slice(0, word.indexOf('=')) : word;
  return name.startsWith('--') ? name.replaceAll('_', '-') : name;
}

/**
 * Filters the flags of a Node command line for a child.
 *
 * @param argv Flags as in `process.execArgv`.
 * @returns The flags that a child is given.
 */
export function filterExecArgv(argv: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] as string;
    const name = flagName(word);
    if (!dropped.has(name)) {
      kept.push(word);
      continue;
    }
    const next = argv[index + 1];
    if (!word.includes('=') && droppedWithValue.has(name) && next !== undefined && !next.startsWith('-')) index++;
  }
  return kept;
}

/**
 * The flags of this process that a child is given when its options name none, for `execArgv` that adds to them.
 *
 * @returns A new array.
 */
export function inheritedExecArgv(): string[] {
  return filterExecArgv(process.execArgv);
}

/** The words of a `NODE_OPTIONS` value; those in double quotes, with backslash escapes inside, are kept whole as Node reads them. */
function splitNodeOptions(value: string | undefined): string[] {
  return value?.match(/(?:[^\s"]|"(?:\\.|[^"\\])*")+/g) ?? [];
}

/**
 * Filters a `NODE_OPTIONS` value for a child.
 *
 * @param value The value, or undefined.
 * @returns The value for the child, or undefined when nothing is left.
 */
export function filterNodeOptions(value: string | undefined): string | undefined {
  const kept = filterExecArgv(splitNodeOptions(value));
  return kept.length === 0 ? undefined : kept.join(' ');
}

/**
 * The environment of a child: the parent's, or the one that was given, with `NODE_OPTIONS` filtered.
 *
 * @param env The environment that was asked for; the parent's when undefined.
 */
export function childEnvironment(env: Readonly<Record<string, string | undefined>> | undefined): NodeJS.ProcessEnv {
  const result: NodeJS.ProcessEnv = { ...(env ?? process.env) };
  const options = filterNodeOptions(result.NODE_OPTIONS);
  if (options === undefined) delete result.NODE_OPTIONS;
  else result.NODE_OPTIONS = options;
  // A cluster worker's children are not cluster workers.
  delete result.NODE_UNIQUE_ID;
  // Under `--watch` Node has every process report its imports to its parent, which here has no use for them.
  delete result.WATCH_REPORT_DEPENDENCIES;
  return result;
}

/**
 * What of Node's flags a worker thread is given. Given none, it has those of the process. Given some, it has those and no others, and refuses the ones that
 * concern the whole process (V8's, OpenSSL's, the process's title), which hold for it anyway.
 */

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
