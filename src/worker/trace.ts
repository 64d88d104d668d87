import { AsyncResource } from 'node:async_hooks';

/** The context that a request came from. */
export interface Trace {
  /** The caller's W3C `traceparent`, when one was given. It crosses to other hosts. */
  readonly traceparent: string | undefined;
  /** Runs a function in the caller's async context (AsyncLocalStorage). It does nothing special across hosts. */
  run<T>(fn: () => T): T;
}

/** Remembers the async context it is made in. */
export class CallerTrace extends AsyncResource implements Trace {
  readonly traceparent: string | undefined;

  constructor(traceparent: string | undefined) {
    super('MILLRACE_REQUEST', { requireManualDestroy: true });
    this.traceparent = traceparent;
  }

  run<T>(fn: () => T): T {
    return this.runInAsyncScope(fn);
  }
}
