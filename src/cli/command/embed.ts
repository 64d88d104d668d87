import { identifyModel } from '../../image-embedding/index.js';
import type { FileLock } from '../../image-embedding/internal.js';
import { EXIT, type ExitCode, OutputTakenError, RunError, UsageError } from '../errors.js';
import {
  BASE64_ENDINGS,
  collectInputs,
  type EmbedInput,
  IMAGE_ENDINGS,
  type InputList,
  inputOf,
} from '../input/inputs.js';
import { openWriter, outputFormat } from '../output/open-writer.js';
import { lockOutput } from '../output/output-lock.js';
import type { RecordWriter } from '../output/record.js';
import { ReplacingFile } from '../output/replacing-file.js';
import { dropErrors, type HeldOutput, readHeldOutput, requireHeldModel } from '../output/resume.js';
import { handleInterrupts } from '../terminal/interrupts.js';
import { Progress } from '../terminal/progress.js';
import { formatDuration, formatRate } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import { withNearestModel } from './model-cache.js';
import { imageLimits, type LimitOptions, type ModelChoice, modelSource, type VectorOptions } from './options.js';
import { quitAtOnce, runEmbedding } from './run-embedding.js';

/** The options of `millrace embed`. */
export interface EmbedOptions extends ModelChoice, VectorOptions, LimitOptions {
  readonly out: string;
  readonly exclude?: readonly string[];
  readonly null?: boolean;
  readonly concurrency?: number;
  readonly workers?: number;
  readonly op: 'path' | 'base64';
  readonly resume?: boolean;
  readonly retryErrors?: boolean;
  readonly allowPrivateUrls?: boolean;
}

/** `millrace embed`: one record for each input, in input order. */
export async function embedCommand(
  context: CommandContext,
  args: readonly string[],
  options: EmbedOptions,
): Promise<ExitCode> {
  const toStdout = options.out === '-';
  const format = outputFormat(options.out);
  if (options.resume && (toStdout || format !== 'jsonl')) {
    throw new UsageError("Cannot resume: '--resume' needs a .jsonl output");
  }
  if (options.retryErrors && !options.resume) {
    throw new UsageError("Cannot retry errors: '--retry-errors' goes with '--resume'");
  }
  const { stderr } = context;
  const lock = toStdout
    ? undefined
    : await lockOutput(options.out, {
        isPatient: options.resume === true,
        onWait: (text) => stderr.write(`${text}\n`),
      });
  try {
    return await embedInto(context, args, options, lock);
  } finally {
    await lock?.release();
  }
}

async function embedInto(
  context: CommandContext,
  args: readonly string[],
  options: EmbedOptions,
  lock: FileLock | undefined,
): Promise<ExitCode> {
  const { stderr } = context;
  const toStdout = options.out === '-';
  const format = outputFormat(options.out);
  const interrupt = new AbortController();
  const inputs = await collectInputs(args, {
    endings: options.op === 'base64' ? new Set([...IMAGE_ENDINGS, ...BASE64_ENDINGS]) : IMAGE_ENDINGS,
    output: toStdout ? undefined : options.out,
    exclude: options.exclude,
    isNullSeparated: options.null,
    stdin: context.stdin,
    signal: interrupt.signal,
  });
  for (const note of inputs.notes) stderr.write(`note: ${note}\n`);

  const held = options.resume ? await holdOutput(context, options) : undefined;
  const rest = held === undefined ? inputs : withoutHeld(inputs, held);
  const unreadable = rest.unreadable.filter(({ name }) => !held?.paths.has(name));
  const { preprocess = 'fast', normalize = true } = options;
  const model = await modelSource(options);
  // An output that holds nothing is opened at once, to find out whether it can be written.
  const writer =
    held === undefined || held.bytes === 0
      ? await openWriter(options.out, context.stdout, held?.bytes)
      : resumedWriter(context, options, held);
  let isClosed = false;
  let release = (): void => {};
  let progress: Progress | undefined;
  try {
    const embedder = await context.createEmbedder({
      model,
      workers: options.workers,
      op: options.op,
      allowPrivateUrls: options.allowPrivateUrls ?? false,
      preprocess,
      normalize,
      limits: imageLimits(options),
      concurrency: options.concurrency,
      onDownload: (text) => {
        if (progress !== undefined) progress.status = text;
      },
    });
    const total = rest.total === undefined ? undefined : rest.total + unreadable.length;
    progress = new Progress({ stream: stderr, unit: 'images', total });
    const shown = progress;
    if (total === 0) shown.status = 'looking at the model';
    release = handleInterrupts({
      onFirst: () => {
        interrupt.abort();
        shown.note('stopping: what is running is finished and written; once more to quit at once');
      },
      onSecond: () => {
        shown.stop();
        quitAtOnce(embedder, lock);
      },
    });
    const result = await runEmbedding({
      items: rest.items,
      embedder,
      writer,
      progress,
      signal: interrupt.signal,
      dimension: held?.dimension,
      unreadable,
      // Also if nothing is left to embed: an output of another model does not hold the vectors of this one.
      isIdentifiedFirst: held?.dimension !== undefined,
      identify: async () => {
        const description = await embedder.describe().catch(async (error: unknown) => {
          throw await withNearestModel(error, options.model);
        });
        const identity = await identifyModel(description, { preprocess, normalize });
        if (held !== undefined) {
          await requireHeldModel(options.out, held, identity, (name) => embedder.embed(inputOf(name)));
        }
        return identity;
      },
    }).then(
      async (done) => {
        await embedder.close();
        return done;
      },
      async (error: unknown) => {
        await embedder.destroy(new Error('the run has failed'));
        shown.stop();
        const isOurs = error instanceof RunError && !(error instanceof OutputTakenError);
        if (isOurs && !toStdout && shown.done > 0) {
          stderr.write(
            format === 'jsonl'
              ? `${shown.done} images are in ${options.out}; run the same command with --resume to continue\n`
              : `${shown.done} images are in ${await ReplacingFile.partialOf(options.out)}; ${options.out} is as it was\n`,
          );
        }
        throw error;
      },
    );
    progress.stop();
    // Formats that replace a file do so here, or fail.
    isClosed = true;
    await writer.close();
    for (const note of inputs.lateNotes()) stderr.write(`note: ${note}\n`);
    return conclude(context, options, {
      ...result,
      progress,
      total,
      held,
      isInterrupted: interrupt.signal.aborted,
    });
  } finally {
    progress?.stop();
    release();
    if (!isClosed) await writer.close(false);
  }
}

/** What the output holds, without its errors if they are to be tried again. Changes nothing. */
async function holdOutput(context: CommandContext, { out, retryErrors }: EmbedOptions): Promise<HeldOutput> {
  const held = await readHeldOutput(out, { withErrors: retryErrors !== true });
  noteHeld(context, out, held, retryErrors === true);
  return held;
}

/** Appends to what the output holds. The first record, or the end, changes the file: a run that is refused leaves it as it is. */
function resumedWriter({ stdout }: CommandContext, { out, retryErrors }: EmbedOptions, held: HeldOutput): RecordWriter {
  const isRetried = retryErrors === true && held.failed > 0;
  const open = async (): Promise<RecordWriter> => {
    if (!isRetried) return await openWriter(out, stdout, held.bytes);
    await dropErrors(out);
    return await openWriter(out, stdout, (await readHeldOutput(out)).bytes);
  };
  let opened: Promise<RecordWriter> | undefined;
  return {
    async write(record) {
      opened ??= open();
      await (await opened).write(record);
    },
    async close(isWhole = true) {
      if (isWhole && (isRetried || held.isTorn)) opened ??= open();
      await (await opened)?.close(isWhole);
    },
  };
}

function withoutHeld(inputs: InputList, held: HeldOutput): InputList {
  const isNew = (input: EmbedInput): boolean => !held.paths.has(input.name);
  if (Symbol.asyncIterator in inputs.items) {
    const { items } = inputs;
    const filtered = (async function* (): AsyncGenerator<EmbedInput> {
      for await (const input of items) if (isNew(input)) yield input;
    })();
    return { ...inputs, items: filtered };
  }
  const items = [...inputs.items].filter(isNew);
  return { ...inputs, items, total: items.length };
}

function noteHeld({ stderr }: CommandContext, out: string, held: HeldOutput, isRetried: boolean): void {
  const how = isRetried ? ' and are tried again' : ' and stay as they are: --retry-errors tries them again';
  const failed = held.failed > 0 ? `, ${held.failed} of them failed${how}` : '';
  const count = held.paths.size + (isRetried ? held.failed : 0);
  stderr.write(`resuming: ${out} holds ${count}${failed}\n`);
  if (held.isTorn) stderr.write('note: the last line was torn by the end of an earlier run and is removed\n');
}

interface Conclusion {
  readonly done: number;
  readonly failed: number;
  readonly progress: Progress;
  readonly total: number | undefined;
  readonly held: HeldOutput | undefined;
  readonly isInterrupted: boolean;
}

function conclude({ stderr }: CommandContext, options: EmbedOptions, run: Conclusion): ExitCode {
  const { done, failed, progress } = run;
  const hasFailed = options.retryErrors !== true && (run.held?.failed ?? 0) > 0;
  if (run.total === 0 && done === 0 && !run.isInterrupted) {
    stderr.write(`nothing to do: ${options.out} holds every input\n`);
    return hasFailed ? EXIT.failed : EXIT.ok;
  }
  if (run.total === undefined && done === 0 && !run.isInterrupted) {
    const why =
      run.held === undefined || run.held.paths.size === 0 ? 'names nothing' : `names nothing that ${options.out} lacks`;
    stderr.write(`nothing to do: the list on standard input ${why}, and nothing was written\n`);
    return hasFailed ? EXIT.failed : EXIT.ok;
  }
  const rate = formatRate((done / progress.elapsedMs) * 1000);
  const failures = failed > 0 ? `, ${failed} failed` : '';
  const where = options.out === '-' ? 'standard output' : options.out;
  stderr.write(
    `${done} ${done === 1 ? 'image' : 'images'} in ${formatDuration(progress.elapsedMs)} (${rate} images/s)${failures}, written to ${where}\n`,
  );
  if (run.isInterrupted && (run.total === undefined || done < run.total)) {
    const left = run.total === undefined ? '' : `${run.total - done} left; `;
    stderr.write(
      options.out === '-' || outputFormat(options.out) !== 'jsonl'
        ? `interrupted: ${left}start again to embed them\n`
        : `interrupted: ${left}run the same command with --resume to continue\n`,
    );
    return EXIT.interrupted;
  }
  return failed > 0 || hasFailed ? EXIT.failed : EXIT.ok;
}
