import type { Pool } from './pool.js';

/** Options of {@link closeOnSignal}. */
export interface CloseOnSignalOptions {
  /** Which signals. `['SIGTERM', 'SIGINT']` by default. */
  readonly signals?: readonly NodeJS.Signals[];
  /** How long accepted requests may take to finish, in ms. The pool's `shutdownMs` by default. */
  readonly timeoutMs?: number;
}

/**
 * Closes pools when the process is asked to end, and then lets it end by that signal.
 *
 * The first signal closes: accepted calls are finished, new ones refused. A second one destroys what is left. Once every worker is gone the signal
 * is raised again with its default effect, so whoever started the process sees why it ended.
 *
 * @param pools One pool, or several that are closed together.
 * @returns A disposable that takes the handlers away again.
 */
export function closeOnSignal(pools: Pool | readonly Pool[], options: CloseOnSignalOptions = {}): Disposable {
  const list = Array.isArray(pools) ? (pools as readonly Pool[]) : [pools as Pool];
  const signals = options.signals ?? (['SIGTERM', 'SIGINT'] as const);
  let isClosing = false;
  const stop = () => {
    for (const signal of signals) process.removeListener(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    const reason = new Error(`received ${signal}`);
    if (isClosing) {
      for (const pool of list) void pool.destroy(reason);
      return;
    }
    isClosing = true;
    const closing = list.map((pool) =>
      pool.close(options.timeoutMs === undefined ? undefined : { timeoutMs: options.timeoutMs }),
    );
    void Promise.allSettled(closing).then(() => {
      stop();
      process.kill(process.pid, signal);
    });
  };
  for (const signal of signals) process.on(signal, onSignal);
  return { [Symbol.dispose]: stop };
}
