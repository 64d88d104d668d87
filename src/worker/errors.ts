import { type Fault, hide, isError, MillraceError, type MillraceErrorOptions } from '../core/index.js';

/** The worker was closed, drained or destroyed: it takes no more requests, or could not answer this one. `cause` says why, where known. */
export class WorkerClosedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'WorkerClosedError';
  readonly code = 'ERR_WORKER_CLOSED' as const;
  override readonly fault: Fault = 'caller';
}

/** The operation's queue has no room, and the caller asked not to wait. */
export class WorkerFullError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'WorkerFullError';
  readonly code = 'ERR_WORKER_FULL' as const;
  /** The operation whose queue is full. */
  readonly operation: string;

  constructor(message: string, operation: string, options?: MillraceErrorOptions) {
    super(message, options);
    this.operation = operation;
  }
}

/** The worker could not load its model: `cause` is what the module, the factory or `warmup()` threw. */
export class WorkerLoadError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'WorkerLoadError';
  readonly code: string = 'ERR_WORKER_LOAD';
  override readonly fault: Fault = 'model';
}

/** The model does not provide what its operations ask for, such as a method for one of them. */
export class ModelContractError extends WorkerLoadError {
  /** @internal */
  static override readonly name: string = 'ModelContractError';
  override readonly code = 'ERR_MODEL_CONTRACT';
}

/** How a worker ended, as far as its host could tell. */
export interface WorkerCrashDetails extends MillraceErrorOptions {
  /** The exit code, when it exited. */
  readonly exitCode?: number | null | undefined;
  /** The signal that ended it, such as `'SIGKILL'`. */
  readonly signal?: string | null | undefined;
  /** The last lines it wrote to stderr. */
  readonly stderr?: string | undefined;
}

/** The worker ended while it held the request, and the request could not be run again. */
export class WorkerCrashedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'WorkerCrashedError';
  readonly code: string = 'ERR_WORKER_CRASHED';
  override readonly fault: Fault = 'model';
  /** The exit code, or null when a signal ended it or none is known. */
  readonly exitCode: number | null;
  /** The signal that ended it, or null. */
  readonly signal: string | null;
  /** The last lines it wrote to stderr; empty when there were none. */
  readonly stderr: string;

  constructor(message: string, details?: WorkerCrashDetails) {
    super(message, details);
    this.exitCode = details?.exitCode ?? null;
    this.signal = details?.signal ?? null;
    this.stderr = details?.stderr ?? '';
  }
}

/**
 * The input of a call is not what the operation takes: the way for a model to say that a failure is its caller's, which no circuit breaker counts.
 *
 * It arrives with its class, `code` and `cause` from every host. Any other error says the same when it has a `fault` of `'caller'`.
 *
 * @example
 * ```ts
 * const error = new BadInputError('Cannot resize: width must be positive, received -1');
 * error.code; // => 'ERR_BAD_INPUT'
 * error.fault; // => 'caller'
 * ```
 */
export class BadInputError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BadInputError';
  readonly code: string = 'ERR_BAD_INPUT';
  override readonly fault: Fault = 'caller';
}

/** The answer did not come by its deadline. */
export class DeadlineExceededError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'DeadlineExceededError';
  readonly code = 'ERR_DEADLINE_EXCEEDED' as const;
  /** The time that the call was given, in ms. */
  readonly timeoutMs: number;

  constructor(message: string, timeoutMs: number, options?: MillraceErrorOptions) {
    super(message, options);
    this.timeoutMs = timeoutMs;
  }
}

/** The worker has no operation of that name. */
export class UnknownOperationError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'UnknownOperationError';
  readonly code = 'ERR_UNKNOWN_OPERATION' as const;
  override readonly fault: Fault = 'caller';
  /** The name that was called. */
  readonly operation: string;

  constructor(message: string, operation: string, options?: MillraceErrorOptions) {
    super(message, options);
    this.operation = operation;
  }
}

/** The batcher was closed or destroyed. */
export class BatcherClosedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BatcherClosedError';
  readonly code = 'ERR_BATCHER_CLOSED' as const;
  override readonly fault: Fault = 'caller';
}

/** A batch's `run` did not answer with one result per item. */
export class BatchContractError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BatchContractError';
  readonly code = 'ERR_BATCH_CONTRACT' as const;
  override readonly fault: Fault = 'model';
}

/** A worker was asked to go from one state to another that its table does not allow. */
export class WorkerStateError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'WorkerStateError';
  readonly code = 'ERR_WORKER_STATE' as const;
}

/**
 * Says of an error that it is the caller's, where it does not say whose it is and can be told: for what refuses a call, or keeps its input from crossing.
 */
export function blameCaller(error: unknown): void {
  try {
    if (!isError(error) || (error as { fault?: unknown }).fault !== undefined) return;
    hide(error, 'fault', 'caller');
  } catch {
    // A frozen one, or a proxy.
  }
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_WORKER_CLOSED: WorkerClosedError;
    ERR_WORKER_FULL: WorkerFullError;
    ERR_WORKER_LOAD: WorkerLoadError;
    ERR_MODEL_CONTRACT: ModelContractError;
    ERR_WORKER_CRASHED: WorkerCrashedError;
    ERR_BAD_INPUT: BadInputError;
    ERR_DEADLINE_EXCEEDED: DeadlineExceededError;
    ERR_UNKNOWN_OPERATION: UnknownOperationError;
    ERR_BATCHER_CLOSED: BatcherClosedError;
    ERR_BATCH_CONTRACT: BatchContractError;
    ERR_WORKER_STATE: WorkerStateError;
  }
}
