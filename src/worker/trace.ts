import { AsyncLocalStorage, AsyncResource, executionAsyncId } from 'node:async_hooks';

/** Runs a function in an async context, with what AsyncLocalStorage holds there. */
export type RunInContext = <R>(fn: () => R) => R;

/**
 * Runs a function in the context that this module was loaded in. What outlives a call (hosts, their sockets, timers, loops) is made in it: in a caller's
 * context it would keep whatever that caller's request stored, and show it to everybody.
 */
export const inNeutralContext: RunInContext = AsyncLocalStorage.snapshot();

/** The context that a request came from. */
export interface Trace {
  /** The caller's W3C `traceparent`, when one was given. It crosses to other hosts. */
  readonly traceparent: string | undefined;
  /** Runs a function in the caller's async context (AsyncLocalStorage). It does nothing special across hosts. */
  run<T>(fn: () => T): T;
}

/** What a request keeps of where it came from. */
export interface RequestTrace extends Trace {
  /** `run`, with a receiver and arguments. */
  runInAsyncScope<This, Args extends unknown[], T>(fn: (this: This, ...args: Args) => T, self: This, ...args: Args): T;
}

/** Remembers the async context it is made in. */
export class CallerTrace extends AsyncResource implements RequestTrace {
  readonly traceparent: string | undefined;

  constructor(traceparent: string | undefined) {
    // Named by its number, and not by an object of options, the context costs a third.
    super('MILLRACE_REQUEST', executionAsyncId());
    this.traceparent = traceparent;
  }

  run<T>(fn: () => T): T {
    return this.runInAsyncScope(fn);
  }
}

/** For a request whose model is elsewhere: none of the caller's code runs here. */
export class DistantTrace implements RequestTrace {
  readonly traceparent: string | undefined;

  constructor(traceparent: string | undefined) {
    this.traceparent = traceparent;
  }

  run<T>(fn: () => T): T {
    return fn();
  }

  runInAsyncScope<This, Args extends unknown[], T>(fn: (this: This, ...args: Args) => T, self: This, ...args: Args): T {
    return fn.apply(self, args);
  }
}

/** Most have no `traceparent` either. */
export const untraced: RequestTrace = new DistantTrace(undefined);
