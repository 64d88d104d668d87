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

/** The message of a caught value, on one line. */
export function errorMessage(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\s+/g, ' ').trim() || 'unknown error';
}
