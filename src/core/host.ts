/**
 * The one place that touches what a JavaScript host provides besides the language: timers, macrotasks and a monotonic clock. Found by looking,
 * not by asking which host it is, so that core and channels run on Node, Deno, Bun, browsers and edge runtimes alike.
 */

/** A host timer: an object, or a number in browsers. */
export type HostTimer = { ref?(): unknown; unref?(): unknown } | number;

interface HostGlobals {
  setTimeout(callback: () => void, ms: number): HostTimer;
  clearTimeout(timer: HostTimer): void;
  setImmediate?(callback: () => void): unknown;
  MessageChannel?: new () => {
    port1: { onmessage: ((event: unknown) => void) | null; unref?(): void };
    port2: { postMessage(value: unknown): void };
  };
  performance?: { now(): number };
  queueMicrotask?(callback: () => void): void;
}

const globals = globalThis as unknown as HostGlobals;

/** The longest delay a host timer takes, in ms; a longer one would fire at once. */
const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** Milliseconds on a clock that never goes back. */
export const monotonicNow: () => number = findNow();

function findNow(): () => number {
  // Read once: on Node the global is a getter.
  const { performance } = globals;
  return performance === undefined ? Date.now : () => performance.now();
}

/** Runs a callback after the current macrotask, letting timers and I/O in between. It holds the process until it has run. */
export const scheduleMacrotask: (callback: () => void) => void = findMacrotask();

function findMacrotask(): (callback: () => void) => void {
  if (typeof globals.setImmediate === 'function') return (callback) => void globals.setImmediate?.(callback);
  if (typeof globals.MessageChannel === 'function') {
    const { port1, port2 } = new globals.MessageChannel();
    const queue: (() => void)[] = [];
    port1.onmessage = () => queue.shift()?.();
    port1.unref?.();
    return (callback) => {
      queue.push(callback);
      port2.postMessage(null);
    };
  }
  return (callback) => void globals.setTimeout(callback, 0);
}

/** Starts a host timer, of whole milliseconds and no more than it takes; `ref: false` lets the process end before it fires. */
export function startHostTimer(callback: () => void, ms: number, ref: boolean): HostTimer {
  const timer = globals.setTimeout(callback, Math.min(Math.max(Math.ceil(ms), 0), MAX_TIMER_MS));
  if (!ref) holdByHostTimer(timer, false);
  return timer;
}

/** Says whether a host timer holds the process from now on. */
export function holdByHostTimer(timer: HostTimer, isHeld: boolean): void {
  if (typeof timer !== 'object') return;
  if (isHeld) timer.ref?.();
  else timer.unref?.();
}

/** Stops a host timer. */
export function stopHostTimer(timer: HostTimer): void {
  globals.clearTimeout(timer);
}
