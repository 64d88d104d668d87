import type { ModelIdentity } from '../../image-embedding/index.js';
import type { BulkResult } from '../../nats/index.js';
import { EXIT, type ExitCode, RunError } from '../errors.js';
import { openWriter, outputFormat } from '../output/open-writer.js';
import { lockOutput } from '../output/output-lock.js';
import type { EmbedRecord, RecordWriter } from '../output/record.js';
import { ReplacingJsonlWriter } from '../output/replacing-jsonl-writer.js';
import { Progress } from '../terminal/progress.js';
import { type BulkCommandOptions, withBulk } from './bulk.js';
import type { CommandContext } from './context.js';

/** The options of `millrace bulk results`. */
export interface BulkResultsCommandOptions extends BulkCommandOptions {
  readonly out: string;
  readonly partial?: boolean;
}

/** `millrace bulk results`: one record for each input, in input order, as `embed` writes them. */
export async function bulkResultsCommand(
  context: CommandContext,
  id: string,
  options: BulkResultsCommandOptions,
): Promise<ExitCode> {
  const { stderr, stdout } = context;
  const { out } = options;
  const isStream = out === '-';
  const format = outputFormat(out);
  return await withBulk(options, async (bulk) => {
    const status = await bulk.status(id);
    const done = status.succeeded + status.failed + status.dead;
    if (status.state !== 'complete' && !options.partial) {
      stderr.write(
        `${done} of ${status.submitted} jobs of run ${id} are done, it is ${status.state}: nothing was written; --partial writes what there is\n`,
      );
      return EXIT.failed;
    }
    const lock = isStream ? undefined : await lockOutput(out);
    const progress = new Progress({ stream: stderr, unit: 'results', total: done });
    let writer: RecordWriter | undefined;
    let written = 0;
    let failed = 0;
    try {
      writer = format === 'jsonl' && !isStream ? await ReplacingJsonlWriter.open(out) : await openWriter(out, stdout);
      for await (const result of bulk.results(id)) {
        const record = recordOf(result, status.identity as ModelIdentity | undefined);
        await writer.write(record);
        written += 1;
        if ('error' in record) failed += 1;
        progress.advance('error' in record);
      }
      // A result can have been deleted by its age since they were counted.
      if (written < done) throw new RunError(`Cannot read run ${id}: ${done - written} of its results are gone`);
      const whole = writer;
      writer = undefined;
      await whole.close();
      progress.stop();
      stderr.write(
        `${written} results${failed > 0 ? `, ${failed} of them errors` : ''}, written to ${isStream ? 'standard output' : out}\n`,
      );
      return failed > 0 || status.state !== 'complete' ? EXIT.failed : EXIT.ok;
    } finally {
      progress.stop();
      await writer?.close(false);
      await lock?.release();
    }
  });
}

function recordOf({ name, outcome, output, error }: BulkResult, model: ModelIdentity | undefined): EmbedRecord {
  if (outcome !== 'ok') return { path: name, error: error ?? { code: 'ERR_UNKNOWN', message: 'unknown error' } };
  if (output instanceof Float32Array) return { path: name, embedding: output, model };
  throw new RunError(`Cannot write the result of ${name}: expected a vector; the run is not one of pictures`);
}
