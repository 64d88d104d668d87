/**
 * What a process's channel throws for a message that can't be cloned, made what a thread's port throws: a `DataCloneError`. Everything else is
 * answered as it is.
 */
export function asCloneError(error: unknown): unknown {
  const isPlain = error instanceof Error && error.name === 'Error' && (error as { code?: unknown }).code === undefined;
  if (!isPlain || !error.message.endsWith('could not be cloned.')) return error;
  return new DOMException(error.message, 'DataCloneError');
}
