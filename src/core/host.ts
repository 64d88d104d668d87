/**
 * The one place that touches what a JavaScript host provides besides the language: timers, macrotasks and a monotonic clock. Found by looking,
 * not by asking which host it is, so that core and channels run on Node, Deno, Bun, browsers and edge runtimes alike.
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
}

const globals = globalThis as unknown as HostGlobals;

// Taken when the module is loaded: pacing is no time, and goes on while a test has replaced the timers of the process.
const { setImmediate: hostImmediate, MessageChannel: HostChannel, setTimeout: hostTimeout, performance } = globals;

/** The longest delay a host timer takes, in ms; a longer one would fire at once. */
const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** Milliseconds on a clock that never goes back. */
export const monotonicNow = (): number => performance.now();

// Whichever way the host calls back first, callbacks run in the order in which they were scheduled.
const scheduled: (() => void)[] = [];

/** Runs a callback after the current macrotask, letting timers and I/O in between. It holds the process until it has run. */
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
 * The first macrotask tells whether the `setImmediate` that was found is the host's, or one that a test had put in its place: the host's comes
 * before a message that answers a message.
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

/** A channel for each message: Node reads on as long as there are messages in one, and lets nothing else in between. */
function viaMessage(run: () => void): void {
  const { port1, port2 } = new (HostChannel as NonNullable<typeof HostChannel>)();
  port1.onmessage = () => {
    port1.close();
    run();
  };
  port2.postMessage(0);
}

/** More macrotasks than this are not waited for: what goes on for so long may never come to rest. */
const MAX_ROUNDS = 10_000;

/** Waits until microtasks have run out, and every macrotask that was scheduled here, and those that they lead to. */
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

/** Starts a host timer, of whole milliseconds and no more than it takes; `ref: false` lets the process end before it fires. */
export function startHostTimer(callback: () => void, ms: number, ref: boolean): HostTimer {
  const timer = globals.setTimeout(callback, Math.min(Math.max(Math.ceil(ms), 0), MAX_TIMER_MS));
  holdByHostTimer(timer, ref);
  return timer;
}

/** Says whether a host timer holds the process from now on, where the host knows of such a thing. */
export function holdByHostTimer(timer: HostTimer, isHeld: boolean): void {
  (timer as Exclude<HostTimer, number>)[isHeld ? 'ref' : 'unref']?.();
}

/** Stops a host timer. */
export function stopHostTimer(timer: HostTimer): void {
  globals.clearTimeout(timer);
}
