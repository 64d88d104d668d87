/** What is claimed of Millrace and its peers: a question, and for each contender the code that answers it. */

export interface Claim {
  readonly question: string;
  /** What a contender does, found out by doing it; the answer is the cell of the table. */
  readonly answers: Readonly<Record<string, () => Promise<string>>>;
}

export const yesNo = (isTrue: boolean): string => (isTrue ? 'yes' : 'no');

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether a promise is settled within a time, and how. */
export async function settledWithin(
  ms: number,
  promise: Promise<unknown>,
): Promise<'fulfilled' | 'rejected' | 'pending'> {
  return await Promise.race([
    promise.then(
      () => 'fulfilled' as const,
      () => 'rejected' as const,
    ),
    pause(ms).then(() => 'pending' as const),
  ]);
}
