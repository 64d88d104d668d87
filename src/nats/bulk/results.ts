import type { JetStream } from '../jetstream.js';
import { readBody } from './body.js';
import type { BulkOutcome } from './bulk-worker.js';
import type { ServiceNames } from './names.js';

/** The result of a job. */
export interface BulkResult {
  readonly index: number;
  readonly name: string;
  readonly outcome: BulkOutcome;
  /** What the worker's function resolved with; undefined where it failed. */
  readonly output: unknown;
  readonly error: { readonly code: string; readonly message: string } | undefined;
}

/** How many results are asked for at once. */
const AHEAD = 128;

/** The results of a run in order of index; indices without one are left out. */
export async function* readResults(
  js: JetStream,
  names: ServiceNames,
  run: string,
  count: number,
): AsyncGenerator<BulkResult, void, void> {
  const read = async (index: number): Promise<BulkResult | undefined> => {
    const stored = await js.last(names.results, names.result(run, index));
    if (stored === undefined) return undefined;
    const { head, value } = readBody(stored.data);
    return { index, name: head.name, outcome: head.outcome ?? 'ok', output: value, error: head.error };
  };
  const asked: Promise<BulkResult | undefined>[] = [];
  for (let next = 0; next < count || asked.length > 0; ) {
    for (; next < count && asked.length < AHEAD; next++) {
      const answer = read(next);
      // Awaited in its turn; an earlier one may fail first.
      answer.catch(() => {});
      asked.push(answer);
    }
    const result = await asked.shift();
    if (result !== undefined) yield result;
  }
}
