import type { ModelIdentity } from '../../image-embedding/index.js';
import { type FileLock, mapInOrder } from '../../image-embedding/internal.js';
import { deepestCoded, EXIT, errorCode, errorMessage, modelError, RunError, UsageError } from '../errors.js';
import type { EmbedInput, UnreadableInput } from '../input/inputs.js';
import type { EmbedRecord, RecordWriter } from '../output/record.js';
import type { Progress } from '../terminal/progress.js';
import { printable } from '../terminal/text.js';
import type { Embedder } from './context.js';
import { withFlag } from './options.js';

/** Options of {@link runEmbedding}. */
export interface EmbeddingRun {
  readonly items: Iterable<EmbedInput> | AsyncIterable<EmbedInput>;
  readonly embedder: Embedder;
  readonly writer: RecordWriter;
  readonly progress: Progress;
  /** Asks for the model before the first image; an error that it throws ends the run. */
  readonly identify?: () => Promise<ModelIdentity>;
  /** Whether it is asked even if there is nothing to embed. */
  readonly isIdentifiedFirst?: boolean;
  /** Inputs that can't be read: their error records come first. */
  readonly unreadable?: readonly UnreadableInput[];
  /** Stops the run: images that are running are finished and written. */
  readonly signal?: AbortSignal;
  /** The dimension of the embeddings that the output already holds. */
  readonly dimension?: number | undefined;
  /** Called with every record that was written. */
  readonly onRecord?: (record: EmbedRecord) => void;
}

/** The counts of a run. */
export interface EmbeddingRunResult {
  readonly done: number;
  readonly failed: number;
}

/** Failures of the model or the pool, which every further image would repeat. */
export const FATAL: RegExp =
  /^ERR_(MODEL_(?!INFERENCE$)|DEPENDENCY_MISSING$|MEMORY_EXHAUSTED$|POOL_|WORKER_LOAD$|WORKER_CLOSED$|BREAKER_OPEN$)/;
const MAX_NOTED_FAILURES = 10;

type Outcome = { readonly record: EmbedRecord } | { readonly fatal: unknown };

/**
 * Embeds inputs and writes their records in input order. An input that fails gets its error record and the run goes on.
 *
 * @throws UsageError when the model cannot be used and nothing was written; RunError when the run cannot go on.
 */
export async function runEmbedding(run: EmbeddingRun): Promise<EmbeddingRunResult> {
  const { embedder, writer, progress } = run;
  let done = 0;
  let failed = 0;
  const stop = new AbortController();
  const signal = run.signal === undefined ? stop.signal : AbortSignal.any([run.signal, stop.signal]);

  let identified: Promise<ModelIdentity> | undefined;
  if (run.isIdentifiedFirst) {
    identified = run.identify?.();
    try {
      await identified;
    } catch (error) {
      if (run.signal?.aborted) return { done, failed };
      throw fatalError(error, done);
    }
  }
  const embed = async (input: EmbedInput): Promise<Outcome> => {
    let model: ModelIdentity | undefined;
    try {
      identified ??= run.identify?.();
      model = await identified;
    } catch (error) {
      return { fatal: error };
    }
    try {
      return { record: { path: input.name, embedding: await embedder.embed(input), model } };
    } catch (error) {
      return FATAL.test(errorCode(error)) ? { fatal: error } : { record: failure(input.name, error) };
    }
  };
  const write = async (record: EmbedRecord): Promise<void> => {
    if ('error' in record) {
      failed++;
      if (failed <= MAX_NOTED_FAILURES) {
        progress.note(`${printable(record.path)}: ${record.error.code}: ${printable(record.error.message)}`);
      }
      if (failed === MAX_NOTED_FAILURES) progress.note('further failures are in the output only');
    }
    await writer.write(record);
    done++;
    progress.advance('error' in record);
    run.onRecord?.(record);
  };

  // Called when the model is known to work: a run that can't start leaves the output as it is.
  let unwritten = run.unreadable ?? [];
  const writeUnreadable = async (): Promise<void> => {
    const now = unwritten;
    unwritten = [];
    for (const { name, error } of now) await write(failure(name, error));
  };

  const items = untilAborted(run.items, signal);
  for await (const outcome of mapInOrder(items, { concurrency: embedder.window, map: embed })) {
    if ('fatal' in outcome) {
      stop.abort();
      // Ctrl-C can kill a worker that has just been started and does not ignore it yet: the run is interrupted, not failed.
      if (run.signal?.aborted && errorCode(deepestCoded(outcome.fatal)) === 'ERR_WORKER_CRASHED') break;
      throw fatalError(outcome.fatal, done);
    }
    const { record } = outcome;
    if ('embedding' in record && run.dimension !== undefined && record.embedding.length !== run.dimension) {
      stop.abort();
      throw new UsageError(
        `Cannot resume: the output holds vectors of ${run.dimension} dimensions, this model gives ${record.embedding.length}`,
      );
    }
    await writeUnreadable();
    await write(record);
  }
  await writeUnreadable();
  return { done, failed };
}

/** The items of a source until a signal aborts. A source that may block must end by itself. */
async function* untilAborted<T>(
  source: Iterable<T> | AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  if (signal.aborted) return;
  try {
    for await (const item of source) {
      if (signal.aborted) return;
      yield item;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function failure(path: string, error: unknown): EmbedRecord {
  const code = errorCode(error);
  return { path, error: { code, message: withFlag(code, errorMessage(error)) } };
}

function fatalError(error: unknown, done: number): Error {
  const failure = modelError(error);
  return done === 0 ? failure : new RunError(failure.message, { cause: error });
}

/** Ends this process and its workers without waiting for running images. Only the lock of the output is released first. */
export function quitAtOnce(embedder: Embedder, lock: FileLock | undefined): void {
  const quit = (): never => {
    void embedder.destroy(new Error('quit at once'));
    process.exit(EXIT.interrupted);
  };
  void (lock?.release() ?? Promise.resolve()).then(quit, quit);
}
