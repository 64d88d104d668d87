/**
 * The only use of host APIs in core and channels: timers, macrotasks and a monotonic clock. Features are detected, not hosts, so that both run
 * on Node, Deno, Bun, browsers and edge runtimes.
 */

/** A host timer: an object, or a number in browsers. */
export type HostTimer = { ref?(): unknown; unref?(): unknown } | number;

interface HostGlobals {
  setTimeout(callback: () => void, ms?: number): HostTimer;
  clearTimeout(timer: HostTimer): void;
  setImmediate?(callback: () => void): unknown;
  MessageChannel?: new () => {
    port1: { onmessage: ((event: unknown) => void) | null; close(): void };
    port2: { postMessage(value: unknown): void };
  };
  performance: { now(): number };
  /** Only Cloudflare's runtime (workerd) has it. */
  WebSocketPair?: unknown;
}

const globals = globalThis as unknown as HostGlobals;

// Read when the module is loaded, so that macrotasks go on while a test has replaced the timers of the process.
const { setImmediate: hostImmediate, setTimeout: hostTimeout, performance } = globals;
// In workerd messages that answer messages come before all timers, which would never fire beside a busy loop.
const HostChannel = globals.WebSocketPair ? undefined : globals.MessageChannel;

/** The longest delay a host timer takes, in ms; a longer one would fire at once. */
const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** Milliseconds on a monotonic clock. */
export const monotonicNow = (): number => performance.now();

// Callbacks run in the order in which they were scheduled, whichever way the host calls back first.
const scheduled: (() => void)[] = [];

/** Runs a callback after the current macrotask; timers and I/O may run between. It keeps the process alive until it has run. */
export function scheduleMacrotask(callback: () => void): void {
  scheduled.push(callback);
  nextMacrotask(runScheduled);
}

function runScheduled(): void {
  scheduled.shift()?.();
}

type RunLater = (run: () => void) => unknown;

let nextMacrotask: RunLater = HostChannel ? (hostImmediate ? chooseWay : viaMessage) : (hostImmediate ?? hostTimeout);

/**
 * Finds out with the first macrotask whether `setImmediate` is the host's or a test's replacement: the host's runs before a message that
 * answers a message.
 */
function chooseWay(run: () => void): void {
  let isReal = false;
  (hostImmediate as RunLater)(() => {
    isReal = true;
    run();
  });
  viaMessage(() =>
    viaMessage(() => {
      nextMacrotask = isReal ? (hostImmediate as RunLater) : viaMessage;
      if (!isReal) run();
    }),
  );
}

/** Uses a channel per message: Node reads all messages of one channel before timers and I/O. */
function viaMessage(run: () => void): void {
  const { port1, port2 } = new (HostChannel as NonNullable<typeof HostChannel>)();
  port1.onmessage = () => {
    port1.close();
    run();
  };
  port2.postMessage(0);
}

/** The most macrotasks to wait for, since a loop may schedule them without end. */
const MAX_ROUNDS = 10_000;

/** Waits for all microtasks, and for all macrotasks scheduled here, including those that they schedule. */
export function settleMacrotasks(): Promise<void> {
  let rounds = 0;
  return new Promise((resolve) => {
    const look = (): void => {
      if (scheduled.length > 0 && ++rounds < MAX_ROUNDS) nextMacrotask(look);
      else resolve();
    };
    nextMacrotask(look);
  });
}

/** Starts a host timer, rounded up to milliseconds and capped at the host's maximum; `ref: false` lets the process end before it fires. */
export function startHostTimer(callback: () => void, ms: number, ref: boolean): HostTimer {
  const timer = globals.setTimeout(callback, Math.min(Math.ceil(ms), MAX_TIMER_MS));
  holdByHostTimer(timer, ref);
  return timer;
}

/** Sets whether a host timer keeps the process alive, on hosts that support it. */
export function holdByHostTimer(timer: HostTimer, isHeld: boolean): void {
  (timer as Exclude<HostTimer, number>)[isHeld ? 'ref' : 'unref']?.();
}

/** Stops a host timer. */
export function stopHostTimer(timer: HostTimer): void {
  globals.clearTimeout(timer);
}
