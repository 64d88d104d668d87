/** How a thread or a child process is started. Validated by `spawnWorker`. */
export interface HostOptions {
  /** Environment of the worker; the parent's when undefined. `NODE_OPTIONS` is filtered either way. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Node flags; when undefined the parent's, less inspector ports and those that say what the parent itself runs. */
  readonly execArgv?: readonly string[] | undefined;
  /** Working directory (process host only). */
  readonly cwd?: string | undefined;
  /** Limit of the JavaScript heap, in MB. Native memory is not part of it. */
  readonly memoryMb?: number | undefined;
  /** What becomes of what the worker prints: `'inherit'` shows it, `'ignore'` drops it. The last stderr lines are kept either way. */
  readonly stdio: 'inherit' | 'ignore';
}
