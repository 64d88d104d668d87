/** Whether a failure says something about the model: it threw, hung or crashed. Bad input, aborts and shortage of room or memory do not. */
export function isModelFault(error: unknown): boolean {
  const fault = (error as { fault?: unknown } | null | undefined)?.fault;
  // What is no Millrace error was thrown by the model's own code.
  return fault === undefined ? true : fault === 'model';
}

/** Whether a failure means that the worker went away with the request. */
export function isWorkerLost(error: unknown): boolean {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return code === 'ERR_WORKER_CRASHED' || code === 'ERR_WORKER_CLOSED' || code === 'ERR_WORKER_LOAD';
}

/** Whether a failure is the passing of a deadline. */
export function isDeadlineExceeded(error: unknown): boolean {
  return (error as { code?: unknown } | null | undefined)?.code === 'ERR_DEADLINE_EXCEEDED';
}
