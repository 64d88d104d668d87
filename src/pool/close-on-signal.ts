/**
 * Closes what a process has open when it is asked to end.
 *
 * Invariants: this module has at most one listener for a signal, whatever the number of registrations; a shutdown is under way at most once; the
 * signal is raised again only where no other listener is left, because for others it would be a second one.
 */
import { constants } from 'node:os';
import { clearInterval, clearTimeout, setInterval, setTimeout } from 'node:timers';
import { describeReceived, requireFunction, requireMilliseconds, requireOneOf, requireOptions } from '../core/index.js';
import type { Pool } from './pool.js';

/**
 * What {@link closeOnSignal} closes: a pool, an image embedding pool or a worker; a server or anything else with a `close()` or
 * `Symbol.asyncDispose`; or a function.
 */
export type Closable =
  | Pick<Pool, 'close' | 'destroy'>
  | AsyncDisposable
  | { close(): unknown }
  | ((signal: NodeJS.Signals) => unknown);

/** Options of {@link closeOnSignal}. */
export interface CloseOnSignalOptions {
  /** Which signals. `['SIGTERM', 'SIGINT']` by default. */
  readonly signals?: readonly NodeJS.Signals[] | undefined;
  /**
   * How long each may take, in ms: a pool to finish what it accepted, its `shutdownMs` by default; anything else to close before the next one is
   * closed, 5,000 by default.
   */
  readonly timeoutMs?: number | undefined;
}

interface Registration {
  readonly closers: readonly Closable[];
  readonly signals: readonly NodeJS.Signals[];
  readonly timeoutMs: number | undefined;
  hasBegun: boolean;
}

const DEFAULT_TIMEOUT_MS = 5_000;
/** How long other `once` listeners of the signal are given before the signal is raised again, in ms. */
const OTHERS_MS = 5_000;
/** How long the destruction at a second signal may hold the process, in ms. */
const DESTROY_MS = 2_000;
/** How long a raised signal may take to end the process, in ms. */
const RAISED_MS = 100;
/** How often connections that fell idle while a server closes are closed, in ms. */
const IDLE_CONNECTIONS_MS = 100;

const registrations = new Set<Registration>();
const listened = new Set<NodeJS.Signals>();
let shutdown: Shutdown | undefined;

/**
 * Closes pools, servers and the like when the process is asked to end, and then lets it end by that signal.
 *
 * The first signal closes what is in the list, one after the other: a server first, so that the pool behind it answers the requests that the server
 * still has. A closer that fails is reported as a warning and the next one is closed. A second signal destroys what is left and ends at once.
 *
 * When all is closed the signal is raised again with its default effect, so that the parent of the process sees why it ended; where that can't end
 * it, as in a container's first process, it exits with 128 and the signal's number. If other listeners of the signal are left, the end of the
 * process is up to them. Several registrations are closed at the same time, and the last one lets the process end.
 *
 * @param closers One pool, server or function, or several that are closed in the order of the list. A function may return a promise.
 * @returns A disposable that takes the registration back.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const pool = createPool();
 * const registration = closeOnSignal([() => console.log('closing'), pool], { signals: ['SIGTERM'] });
 * process.listenerCount('SIGTERM'); // => 1
 * registration[Symbol.dispose]();
 * process.listenerCount('SIGTERM'); // => 0
 * await pool.close();
 * ```
 */
export function closeOnSignal(closers: Closable | readonly Closable[], options?: CloseOnSignalOptions): Disposable {
  const action = 'Cannot close on signal';
  const given = requireOptions<CloseOnSignalOptions>(action, options, ['signals', 'timeoutMs']);
  const registration: Registration = {
    closers: (Array.isArray(closers) ? (closers as readonly Closable[]) : [closers as Closable]).map((closer) =>
      requireClosable(action, closer),
    ),
    signals: requireSignals(action, given.signals ?? ['SIGTERM', 'SIGINT']),
    timeoutMs:
      given.timeoutMs === undefined
        ? undefined
        : requireMilliseconds(action, 'timeoutMs', given.timeoutMs, { infinite: true }),
    hasBegun: false,
  };
  registrations.add(registration);
  updateListeners();
  return {
    [Symbol.dispose]() {
      // What has begun to close is closed.
      if (!registration.hasBegun && registrations.delete(registration)) updateListeners();
    },
  };
}

function updateListeners(): void {
  const wanted = new Set([...registrations].flatMap(({ signals }) => signals));
  for (const signal of wanted) {
    if (listened.has(signal)) continue;
    listened.add(signal);
    // Before others: a listener that is called once is still counted then.
    process.prependListener(signal, onSignal);
  }
  for (const signal of listened) {
    if (wanted.has(signal)) continue;
    listened.delete(signal);
    process.removeListener(signal, onSignal);
  }
}

function onSignal(signal: NodeJS.Signals): void {
  if (shutdown === undefined) {
    shutdown = new Shutdown(signal);
    void shutdown.run();
  } else shutdown.hurry(signal);
}

class Shutdown {
  readonly #signal: NodeJS.Signals;
  readonly #hasCompany: boolean;
  readonly #hurried: Promise<void>;
  #onHurried!: () => void;
  #isHurried = false;
  #isOver = false;

  constructor(signal: NodeJS.Signals) {
    this.#signal = signal;
    this.#hasCompany = process.listenerCount(signal) > 1;
    this.#hurried = new Promise((resolve) => {
      this.#onHurried = resolve;
    });
  }

  async run(): Promise<void> {
    // A registration made meanwhile is closed too.
    for (let next = this.#begin(); next.length > 0 && !this.#isHurried; next = this.#begin()) {
      await Promise.all(next.map((each) => this.#closeAll(each)));
    }
    if (!this.#isHurried) this.#end();
  }

  /** A second signal: destroys what can be destroyed, waits for nothing else, and ends. At a third, nothing is waited for. */
  hurry(signal: NodeJS.Signals): void {
    if (this.#isHurried) {
      this.#end();
      return;
    }
    this.#isHurried = true;
    this.#onHurried();
    this.#begin();
    const reason = new Error(`received ${signal}`);
    const destroyed = [...registrations]
      .filter((each) => each.hasBegun)
      .flatMap(({ closers }) => closers)
      .map(async (closer) => (hasDestroy(closer) ? await closer.destroy(reason) : undefined));
    void within(Promise.allSettled(destroyed), DESTROY_MS).then(() => this.#end());
  }

  #begin(): Registration[] {
    const next = [...registrations].filter((each) => !each.hasBegun && each.signals.includes(this.#signal));
    for (const each of next) each.hasBegun = true;
    return next;
  }

  async #closeAll({ closers, timeoutMs }: Registration): Promise<void> {
    for (const closer of closers) {
      if (this.#isHurried) return;
      await Promise.race([this.#close(closer, timeoutMs), this.#hurried]);
    }
  }

  async #close(closer: Closable, timeoutMs: number | undefined): Promise<void> {
    try {
      // A pool keeps to the time itself, and says which of its calls were not done.
      if (hasDestroy(closer)) await closer.close(timeoutMs === undefined ? undefined : { timeoutMs });
      else await within(closeOther(closer, this.#signal), timeoutMs ?? DEFAULT_TIMEOUT_MS);
    } catch (error) {
      if ((error as NodeJS.ErrnoException | null)?.code === 'ERR_SERVER_NOT_RUNNING') return;
      process.emitWarning(`Cannot close on ${this.#signal}: ${String(error)}`, { code: 'MILLRACE_CLOSE' });
    }
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    shutdown = undefined;
    for (const each of registrations) if (each.hasBegun) registrations.delete(each);
    updateListeners();
    const signal = this.#signal;
    if (this.#hasCompany && !this.#isHurried) setTimeout(() => raise(signal), OTHERS_MS).unref();
    else raise(signal);
  }
}

function raise(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 0) return;
  const exit = (): never => process.exit(128 + constants.signals[signal]);
  // The kernel keeps signals with their default effect from the first process of a container.
  if (process.pid === 1) exit();
  process.kill(process.pid, signal);
  // Still here: the default effect of this signal is another.
  setTimeout(exit, RAISED_MS);
}

async function closeOther(closer: Closable, signal: NodeJS.Signals): Promise<void> {
  if (typeof closer === 'function') await closer(signal);
  else if (Symbol.asyncDispose in closer) await closeServer(closer);
  else await (closer as { close(): unknown }).close();
}

async function closeServer(closer: AsyncDisposable): Promise<void> {
  const closing = closer[Symbol.asyncDispose]();
  const server = closer as { closeIdleConnections?(): void };
  // An HTTP server closes the connections that are idle as it begins to close; one that falls idle later it would keep for seconds.
  const timer =
    typeof server.closeIdleConnections === 'function'
      ? setInterval(() => server.closeIdleConnections?.(), IDLE_CONNECTIONS_MS)
      : undefined;
  try {
    await closing;
  } finally {
    clearInterval(timer);
  }
}

/** Resolves when the work is done or the time is over; rejects when the work fails in time. */
async function within(work: Promise<unknown>, ms: number): Promise<void> {
  if (ms === Number.POSITIVE_INFINITY) return void (await work);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1));
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function hasDestroy(closer: Closable): closer is Pick<Pool, 'close' | 'destroy'> {
  const { close, destroy } = closer as Partial<Pick<Pool, 'close' | 'destroy'>>;
  return typeof close === 'function' && typeof destroy === 'function';
}

function requireClosable(action: string, closer: unknown): Closable {
  if (typeof closer === 'function') return closer as Closable;
  const { close, [Symbol.asyncDispose]: dispose } = (closer ?? {}) as {
    close?: unknown;
    [Symbol.asyncDispose]?: unknown;
  };
  if (typeof dispose !== 'function') requireFunction(action, 'pool.close', close as () => unknown);
  return closer as Closable;
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
