/** How promises end, told without leaving a rejection unhandled. */

/** The code of an error, or the error as text. */
export const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);

/** Follows promises: their values, the codes of their errors (the error itself where it has none), and `'pending'`. */
export function outcomes(promises: readonly Promise<unknown>[]): unknown[] {
  const list: unknown[] = promises.map(() => 'pending');
  for (const [index, promise] of promises.entries()) {
    promise.then(
      (value) => {
        list[index] = value;
      },
      (error: unknown) => {
        list[index] = (error as { code?: string }).code ?? error;
      },
    );
  }
  return list;
}
