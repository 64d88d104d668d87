/**
 * What of the parent's Node flags a child is given. Loaders, conditions, V8 flags and the rest are passed on, because a model module may need
 * them; left out on purpose are the flags that would open a second inspector on the same port, and those that say what the parent itself runs.
 */

// What is left out, and may take its value as the next word.
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
export function flagName(word: string): string {
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
export function splitNodeOptions(value: string | undefined): string[] {
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
  // Under `--watch` Node has every process say which modules it imports, to whoever started it: nobody here has asked.
  delete result.WATCH_REPORT_DEPENDENCIES;
  return result;
}
