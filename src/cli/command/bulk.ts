/** `millrace bulk`: what is done to whole runs. The worker and the reading of results have files of their own. */

import { bytesFromPath } from '../../image-embedding/internal.js';
import type { BulkInput, BulkStatus, Nats } from '../../nats/index.js';
import { type Bulk, openBulk } from '../../nats/index.js';
import { describeFailure, EXIT, type ExitCode, errorCode, UsageError } from '../errors.js';
import { collectInputs, type EmbedInput, IMAGE_ENDINGS, type InputList } from '../input/inputs.js';
import { handleInterrupts } from '../terminal/interrupts.js';
import { Progress } from '../terminal/progress.js';
import type { CommandContext } from './context.js';
import { connectToServer, type ServerOptions } from './nats-server.js';

/** The options of every bulk command. */
export interface BulkCommandOptions extends ServerOptions {
  readonly service: string;
}

/** The options of `millrace bulk submit`. */
export interface BulkSubmitCommandOptions extends BulkCommandOptions {
  readonly id: string;
  readonly exclude?: readonly string[];
  readonly null?: boolean;
  readonly maxBytes?: number;
  readonly sharedPaths?: boolean;
}

/** The most bytes of a picture that is read, unless an option says otherwise. */
const MAX_BYTES = 100_000_000;

/** Connects, opens the service's runs and closes the connection at the end. Faults of the arguments are usage errors. */
export async function withBulk(
  options: BulkCommandOptions,
  run: (bulk: Bulk, nats: Nats) => Promise<ExitCode>,
): Promise<ExitCode> {
  const nats = await connectToServer(options);
  try {
    return await run(await openBulk({ nats, service: options.service }), nats);
  } catch (error) {
    throw usageOf(error);
  } finally {
    await nats.close();
  }
}

const USAGE = /^ERR_(BULK_(RUN_NOT_FOUND|INPUT_CHANGED|MODEL_MISMATCH|STATE)|NATS_SERVER)$/;

function usageOf(error: unknown): unknown {
  const isUsage = USAGE.test(errorCode(error)) || error instanceof TypeError || error instanceof RangeError;
  return isUsage ? new UsageError(describeFailure(error), { cause: error }) : error;
}

/** `millrace bulk submit`: stores one job for each input, in input order. */
export async function bulkSubmitCommand(
  context: CommandContext,
  args: readonly string[],
  options: BulkSubmitCommandOptions,
): Promise<ExitCode> {
  const { stderr } = context;
  const interrupt = new AbortController();
  const inputs = await collectInputs(args, {
    endings: IMAGE_ENDINGS,
    exclude: options.exclude,
    isNullSeparated: options.null,
    stdin: context.stdin,
    signal: interrupt.signal,
  });
  for (const note of inputs.notes) stderr.write(`note: ${note}\n`);
  return await withBulk(options, async (bulk) => {
    const total = inputs.total === undefined ? undefined : inputs.total + inputs.unreadable.length;
    const progress = new Progress({ stream: stderr, unit: 'jobs', total });
    const release = handleInterrupts({
      onFirst: () => interrupt.abort(),
      onSecond: () => process.exit(EXIT.interrupted),
    });
    try {
      const submitted = await bulk.submit(options.id, jobsOf(inputs, options), {
        signal: interrupt.signal,
        onProgress: (count) => {
          while (progress.done < count) progress.advance();
        },
        onFull: () => progress.note('the queue is full: waiting for workers'),
      });
      progress.stop();
      for (const note of inputs.lateNotes()) stderr.write(`note: ${note}\n`);
      const unreadable = submitted.unreadable > 0 ? `, ${submitted.unreadable} could not be read` : '';
      const before = submitted.total - submitted.stored - submitted.unreadable;
      const earlier = before > 0 ? `, ${before} were there before` : '';
      stderr.write(`${submitted.total} jobs in run ${options.id}${earlier}${unreadable}\n`);
      return EXIT.ok;
    } catch (error) {
      if (!interrupt.signal.aborted) throw error;
      progress.stop();
      stderr.write(`interrupted: run the same command to continue\n`);
      return EXIT.interrupted;
    } finally {
      progress.stop();
      release();
    }
  });
}

async function* jobsOf(inputs: InputList, options: BulkSubmitCommandOptions): AsyncGenerator<BulkInput, void, void> {
  // In the order of `embed`, whose output the results are to equal.
  for (const { name, error } of inputs.unreadable) {
    yield {
      name,
      read: () => {
        throw error;
      },
    };
  }
  for await (const input of inputs.items) yield { name: input.name, read: () => readJob(input, options) };
}

async function readJob(
  { kind, name, file = name }: EmbedInput,
  { sharedPaths, maxBytes = MAX_BYTES }: BulkSubmitCommandOptions,
): Promise<{ operation: string; input: unknown }> {
  if (kind === 'url') return { operation: 'embedImageUrl', input: name };
  if (sharedPaths) return { operation: 'embedImage', input: file };
  return { operation: 'embedImageBytes', input: await bytesFromPath(file, { maxBytes, roots: undefined }) };
}

/** `millrace bulk status`: one run, or all of the service. */
export async function bulkStatusCommand(
  { stdout }: CommandContext,
  id: string | undefined,
  options: BulkCommandOptions & { readonly json?: boolean },
): Promise<ExitCode> {
  return await withBulk(options, async (bulk) => {
    const ids = id === undefined ? await bulk.runs() : [id];
    const statuses: BulkStatus[] = [];
    for (const each of ids) statuses.push(await bulk.status(each));
    if (options.json) stdout.write(`${JSON.stringify(id === undefined ? statuses : statuses[0], undefined, 2)}\n`);
    else if (statuses.length === 0) stdout.write(`the service ${options.service} has no runs\n`);
    else stdout.write(statuses.map(renderStatus).join(''));
    return EXIT.ok;
  });
}

function renderStatus(status: BulkStatus): string {
  const { id, state, submitted, succeeded, failed, dead, waiting, running, dropped, ghosts, lost } = status;
  const parts = [
    `${succeeded} succeeded`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(dead > 0 ? [`${dead} dead`] : []),
    ...(running > 0 ? [`${running} running`] : []),
    ...(waiting > 0 ? [`${waiting} waiting`] : []),
    ...(dropped > 0 ? [`${dropped} dropped`] : []),
  ];
  const lines = [`${id}  ${state}  ${submitted} submitted: ${parts.join(', ')}`];
  if (ghosts > 0) lines.push(`  ${ghosts} ghosts removed: jobs that were in the queue although they had results`);
  if (lost.length > 0) {
    const some = lost.slice(0, 5).join(', ');
    lines.push(`  ${lost.length} jobs are neither in the queue nor done (${some}${lost.length > 5 ? ', …' : ''})`);
  }
  return `${lines.join('\n')}\n`;
}

/** `millrace bulk pause | resume | cancel | retry-dead | rm`. */
export async function bulkChangeCommand(
  { stderr }: CommandContext,
  change: 'pause' | 'resume' | 'cancel' | 'retry-dead' | 'rm',
  id: string,
  options: BulkCommandOptions,
): Promise<ExitCode> {
  return await withBulk(options, async (bulk) => {
    switch (change) {
      case 'pause':
        await bulk.pause(id);
        stderr.write(`run ${id} is paused: jobs that workers hold are finished\n`);
        break;
      case 'resume':
        await bulk.resume(id);
        stderr.write(`run ${id} goes on\n`);
        break;
      case 'cancel':
        await bulk.cancel(id);
        stderr.write(`run ${id} is cancelled: its results stay until it is removed\n`);
        break;
      case 'retry-dead':
        stderr.write(`${await bulk.retryDead(id)} dead jobs of run ${id} are queued again\n`);
        break;
      case 'rm':
        await bulk.remove(id);
        stderr.write(`run ${id} is removed, with its results\n`);
        break;
    }
    return EXIT.ok;
  });
}
