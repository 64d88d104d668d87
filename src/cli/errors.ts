import { isMillraceError } from '../core/index.js';

/** The exit codes. The first three are promised in `--help`; the others are what shells expect of a signal and a closed pipe. */
export const EXIT: {
  readonly ok: 0;
  readonly failed: 1;
  readonly usage: 2;
  readonly interrupted: 130;
  readonly closedPipe: 141;
} = { ok: 0, failed: 1, usage: 2, interrupted: 130, closedPipe: 141 };

/** One of the codes of {@link EXIT}. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The command cannot start: an argument, the output or the model cannot be used. Nothing was done; the command exits with 2. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE';
  override readonly name = 'UsageError';
}

/** The command was under way and cannot go on: what was done so far is kept; the command exits with 1. */
export class RunError extends Error {
  readonly code = 'ERR_RUN';
  override readonly name = 'RunError';
}

/** Another process has written to the output during the run: its content is not this run's alone. */
export class OutputTakenError extends RunError {}

/** The reader of the output has closed it (`millrace … | head`). The command ends without a message. */
export class ClosedPipeError extends Error {
  readonly code = 'EPIPE';
  override readonly name = 'ClosedPipeError';
}

/** The `code` of a caught value, or a general one. */
export function errorCode(error: unknown): string {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'string' && code !== '' ? code : 'ERR_UNKNOWN';
}

/**
 * A caught value on one line: the message of the innermost Millrace error, and the first line of its innermost cause unless the message has that,
 * or has its system code.
 */
export function describeFailure(error: unknown): string {
  const coded = deepestCoded(error);
  const message = errorMessage(coded);
  const cause = innermostCause(coded);
  const reason = firstLine(cause);
  const isSaid = reason === undefined || message.includes(reason) || message.includes(errorCode(cause));
  return isSaid ? message : `${message}: ${reason}`;
}

/** The error of a model that cannot be used: it ends a command before anything was done. */
export function modelError(error: unknown): UsageError {
  if (error instanceof UsageError) return error;
  return new UsageError(`${errorCode(deepestCoded(error))}: ${describeFailure(error)}`, { cause: error });
}

/** The innermost Millrace error: a worker that could not load has the model's own error as its cause. */
export function deepestCoded(error: unknown): unknown {
  let found = error;
  for (let next = error; isMillraceError(next); next = next.cause) found = next;
  return found;
}

const MAX_CAUSES = 100;

/** The last cause of an error that has a text, the first of several. */
function innermostCause(error: unknown): unknown {
  let found: unknown;
  let next: unknown = error;
  for (let depth = 0; next instanceof Error && depth < MAX_CAUSES; depth++) {
    next = next.cause ?? (next instanceof AggregateError ? (next.errors as unknown[])[0] : undefined);
    if (firstLine(next) !== undefined) found = next;
  }
  return found;
}

function firstLine(error: unknown): string | undefined {
  if (error === undefined || error === null) return undefined;
  const text = error instanceof Error ? error.message || errorCode(error) : String(error);
  const line = text
    .split('\n')
    .map((each) => each.trim())
    .find((each) => each !== '');
  return line === 'ERR_UNKNOWN' ? undefined : line;
}

/** The message of a caught value, on one line. */
export function errorMessage(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\s+/g, ' ').trim() || 'unknown error';
}

/** The message of an import that failed since an optional package is not installed. */
export function missingPackage(error: unknown): string | undefined {
  if (errorCode(error) !== 'ERR_MODULE_NOT_FOUND') return undefined;
  const name = /Cannot find package '((?:@[^'/]+\/)?[^'/]+)/.exec(errorMessage(error))?.[1];
  if (name === undefined) return undefined;
  return `Cannot run the command: the optional package ${name} is not installed, install it with npm install ${name}`;
}
