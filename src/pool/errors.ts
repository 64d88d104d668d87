import { type Fault, MillraceError, type MillraceErrorOptions } from '../core/index.js';
import { DeadlineExceededError } from '../worker/index.js';

/** A call came after the pool, or its model's registration, began to close; or it was still unanswered when a shutdown ran out of time. */
export class PoolClosedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'PoolClosedError';
  readonly code = 'ERR_POOL_CLOSED' as const;
}

/** A call found no room: its queue is full, or its deadline cannot be met at the current rate. Nothing of it was run. */
export class PoolOverloadedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'PoolOverloadedError';
  readonly code = 'ERR_POOL_OVERLOADED' as const;
  /** When a new attempt has a fair chance, in ms from now. An estimate. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number, options?: MillraceErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

/** A call was refused because the circuit breaker of its model is open, or half-open with all its probes taken. */
export class BreakerOpenError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BreakerOpenError';
  readonly code = 'ERR_BREAKER_OPEN' as const;
  /** When the breaker lets the next call through at the earliest, in ms from now. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** No model is registered under the key. */
export class UnknownModelError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'UnknownModelError';
  readonly code = 'ERR_MODEL_UNKNOWN' as const;
  override readonly fault: Fault = 'caller';
}

/** What one owner holds of the governed memory. */
export interface MemoryHolding {
  readonly owner: string;
  readonly bytes: number;
  readonly workers: number;
}

/** A worker could not be started: the memory governor has no room for it, and nothing idle was left to evict. */
export class MemoryExhaustedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'MemoryExhaustedError';
  readonly code = 'ERR_MEMORY_EXHAUSTED' as const;
  readonly requestedBytes: number;
  readonly limitBytes: number;
  /** What each owner holds, the largest first. */
  readonly held: readonly MemoryHolding[];

  /** @param origin Where the limit comes from, put behind it in the message. */
  constructor(
    owner: string,
    requestedBytes: number,
    limitBytes: number,
    held: readonly MemoryHolding[],
    origin: string = '',
  ) {
    const list = held.map(
      (each) => `${each.owner} ${megabytes(each.bytes)} in ${each.workers} worker${each.workers === 1 ? '' : 's'}`,
    );
    super(
      `Cannot start a worker of '${owner}': ${megabytes(requestedBytes)} needed, limit ${megabytes(limitBytes)}${origin}, held: ${list.length === 0 ? 'nothing' : list.join(', ')}`,
    );
    this.requestedBytes = requestedBytes;
    this.limitBytes = limitBytes;
    this.held = held;
  }
}

/** @internal */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`;
}

/** An optional package is needed and not installed. */
export class MissingPackageError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'MissingPackageError';
  readonly code = 'ERR_MISSING_PACKAGE' as const;
}

/** Makes an error without capturing a stack: for refusals, of which there are thousands under overload, and whose message says everything. */
function withoutStack<E extends Error>(make: () => E): E {
  const limit = Error.stackTraceLimit;
  try {
    Error.stackTraceLimit = 0;
    return make();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/** What a refusal or a failure of the pool's begins with. */
export function subjectOf(key: string, operation?: string): string {
  return `Cannot call ${key}${operation === undefined ? '' : `.${operation}`}`;
}

export function closedError(key: string, operation: string | undefined, why: string, cause?: unknown): PoolClosedError {
  return new PoolClosedError(`${subjectOf(key, operation)}: ${why}`, cause === undefined ? undefined : { cause });
}

export function brokenError(
  key: string,
  operation: string,
  { state, retryAfterMs }: { readonly state: string; readonly retryAfterMs: number },
): BreakerOpenError {
  const message = `${subjectOf(key, operation)}: its circuit breaker is ${state}`;
  return withoutStack(() => new BreakerOpenError(message, retryAfterMs));
}

export function noRoomError(
  key: string,
  operation: string,
  why: string,
  retryAfterMs: number,
  cause?: unknown,
): PoolOverloadedError {
  const options = cause === undefined ? undefined : { cause };
  return withoutStack(() => new PoolOverloadedError(`${subjectOf(key, operation)}: ${why}`, retryAfterMs, options));
}

export function lateError(key: string, operation: string, timeoutMs: number): DeadlineExceededError {
  const message = `${subjectOf(key, operation)}: no answer within ${timeoutMs} ms`;
  return withoutStack(() => new DeadlineExceededError(message, timeoutMs));
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_POOL_CLOSED: PoolClosedError;
    ERR_POOL_OVERLOADED: PoolOverloadedError;
    ERR_BREAKER_OPEN: BreakerOpenError;
    ERR_MODEL_UNKNOWN: UnknownModelError;
    ERR_MEMORY_EXHAUSTED: MemoryExhaustedError;
    ERR_MISSING_PACKAGE: MissingPackageError;
  }
}
