import { isMillraceError } from '../core/index.js';

/** How the command ends. The first three are promised in `--help`; the others are what shells expect of a signal and a closed pipe. */
export const EXIT: {
  readonly ok: 0;
  readonly failed: 1;
  readonly usage: 2;
  readonly interrupted: 130;
  readonly closedPipe: 141;
} = { ok: 0, failed: 1, usage: 2, interrupted: 130, closedPipe: 141 };

/** One of the codes of {@link EXIT}. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The command cannot start: an argument, the output or the model will not do. Nothing has been done; the command exits with 2. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE';
  override readonly name = 'UsageError';
}

/** The command was under way and cannot go on: what was done so far is kept; the command exits with 1. */
export class RunError extends Error {
  readonly code = 'ERR_RUN';
  override readonly name = 'RunError';
}

/** Another process has written to the output meanwhile: what it holds is not this run's. */
export class OutputTakenError extends RunError {}

/** Whoever read the output has closed it (`millrace … | head`): nothing is left to do, and nothing to complain about. */
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
 * A caught value on one line: what the innermost error with a code of ours says, and the first line of what caused it, in the system's or a library's
 * words, where that is not in it already.
 */
export function describeFailure(error: unknown): string {
  const coded = deepestCoded(error);
  const message = errorMessage(coded);
  const reason = firstLine(innermost(coded));
  return reason === undefined || message.includes(reason) ? message : `${message}: ${reason}`;
}

/** A model that cannot be used ends a command before it has done anything. */
export function modelError(error: unknown): UsageError {
  if (error instanceof UsageError) return error;
  return new UsageError(`${errorCode(deepestCoded(error))}: ${describeFailure(error)}`, { cause: error });
}

/** The innermost error with a code of ours: a worker that could not load has the model's own error as its cause. */
export function deepestCoded(error: unknown): unknown {
  let found = error;
  for (let next = error; isMillraceError(next); next = next.cause) found = next;
  return found;
}

const MAX_CAUSES = 100;

/** What an error goes back to: its last cause, the first of several. Undefined when it has none that says anything. */
function innermost(error: unknown): unknown {
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
