/**
 * Checks what the method of a stream operation has returned.
 *
 * @throws TypeError When it is no async iterable.
 */
export function requireChunks(operation: string, chunks: unknown): AsyncIterable<unknown> {
  const iterable = chunks as Partial<AsyncIterable<unknown>> | null | undefined;
  if (typeof iterable?.[Symbol.asyncIterator] === 'function') return iterable as AsyncIterable<unknown>;
  throw new TypeError(
    `Cannot stream ${operation}: the model's method must return an async iterable, received ${typeof chunks}`,
  );
}
