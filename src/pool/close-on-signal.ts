import { constants } from 'node:os';
import { describeReceived, requireFunction, requireMilliseconds, requireOneOf, requireOptions } from '../core/index.js';
import type { Pool } from './pool.js';

/** What {@link closeOnSignal} closes: a pool, an image embedding pool, or anything else that ends in these two ways. */
export type Closable = Pick<Pool, 'close' | 'destroy'>;

/** Options of {@link closeOnSignal}. */
export interface CloseOnSignalOptions {
  /** Which signals. `['SIGTERM', 'SIGINT']` by default. */
  readonly signals?: readonly NodeJS.Signals[];
  /** How long accepted requests may take to finish, in ms. The pool's `shutdownMs` by default. */
  readonly timeoutMs?: number;
}

// Handlers that were called and whose pools are not closed yet: the last of them lets the process end.
let underWay = 0;

/**
 * Closes pools when the process is asked to end, and then lets it end by that signal.
 *
 * The first signal closes: accepted calls are finished, new ones refused. A second one destroys what is left. Once every worker is gone the signal
 * is raised again with its default effect, so whoever started the process sees why it ended. Several handlers wait for each other with that.
 *
 * @param pools One pool, or several that are closed together.
 * @returns A disposable that takes the handlers away again.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const pool = createPool();
 * const handlers = closeOnSignal(pool, { signals: ['SIGTERM'] });
 * process.listenerCount('SIGTERM'); // => 1
 * handlers[Symbol.dispose]();
 * process.listenerCount('SIGTERM'); // => 0
 * await pool.close();
 * ```
 */
export function closeOnSignal(pools: Closable | readonly Closable[], options?: CloseOnSignalOptions): Disposable {
  const action = 'Cannot close on signal';
  const given = requireOptions<CloseOnSignalOptions>(action, options, ['signals', 'timeoutMs']);
  const closing =
    given.timeoutMs === undefined
      ? undefined
      : { timeoutMs: requireMilliseconds(action, 'timeoutMs', given.timeoutMs, { infinite: true }) };
  const list = Array.isArray(pools) ? (pools as readonly Closable[]) : [pools as Closable];
  for (const pool of list) {
    requireFunction(action, 'pool.close', (pool as Closable | null | undefined)?.close);
    requireFunction(action, 'pool.destroy', (pool as Closable | null | undefined)?.destroy);
  }
  const signals = requireSignals(action, given.signals ?? ['SIGTERM', 'SIGINT']);
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
    underWay += 1;
    void Promise.allSettled(list.map((pool) => pool.close(closing))).then(() => {
      stop();
      underWay -= 1;
      if (underWay > 0) return;
      process.kill(process.pid, signal);
    });
  };
  for (const signal of signals) process.on(signal, onSignal);
  return { [Symbol.dispose]: stop };
}

function requireSignals(action: string, signals: readonly NodeJS.Signals[]): readonly NodeJS.Signals[] {
  if (!Array.isArray(signals) || signals.length === 0) {
    throw new TypeError(
      `${action}: signals must be an array of names of signals, received ${describeReceived(signals)}`,
    );
  }
  const known = Object.keys(constants.signals) as NodeJS.Signals[];
  for (const [index, signal] of signals.entries()) requireOneOf(action, `signals[${index}]`, signal, known);
  return [...signals];
}
