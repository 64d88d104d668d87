import { identifyModel } from '../../image-embedding/index.js';
import type { BulkIdentity, BulkJob } from '../../nats/index.js';
import { describeFailure, EXIT, type ExitCode, errorCode, errorMessage, modelError, RunError } from '../errors.js';
import { handleInterrupts } from '../terminal/interrupts.js';
import { Progress } from '../terminal/progress.js';
import { printable } from '../terminal/text.js';
import { type BulkCommandOptions, withBulk } from './bulk.js';
import type { CommandContext, Embedder } from './context.js';
import { withNearestModel } from './model-cache.js';
import { imageLimits, type LimitOptions, type ModelChoice, modelSource, type VectorOptions } from './options.js';
import { FATAL, quitAtOnce } from './run-embedding.js';

/** The options of `millrace bulk worker`. */
export interface BulkWorkerCommandOptions extends BulkCommandOptions, ModelChoice, VectorOptions, LimitOptions {
  readonly workers?: number;
  readonly untilDone?: boolean;
  readonly allowPrivateUrls?: boolean;
  readonly root?: readonly string[];
}

/** `millrace bulk worker`: embeds the pictures of runs until it is stopped. */
export async function bulkWorkerCommand(
  context: CommandContext,
  ids: readonly string[],
  options: BulkWorkerCommandOptions,
): Promise<ExitCode> {
  const { stderr } = context;
  return await withBulk(options, async (bulk) => {
    const { preprocess = 'fast', normalize = true, root } = options;
    const progress = new Progress({ stream: stderr, unit: 'images' });
    const embedder = await context.createEmbedder({
      model: await modelSource(options),
      workers: options.workers,
      op: 'path',
      allowPrivateUrls: options.allowPrivateUrls ?? false,
      preprocess,
      normalize,
      limits: { ...imageLimits(options), ...(root === undefined ? {} : { roots: root }) },
      onDownload: (text) => {
        progress.status = text;
      },
    });
    const stop = new AbortController();
    const release = handleInterrupts({
      onFirst: () => {
        stop.abort();
        progress.note('stopping: what is running is finished; once more to quit at once');
      },
      onSecond: () => {
        progress.stop();
        quitAtOnce(embedder, undefined);
      },
    });
    try {
      const worked = await bulk.work((job) => embedJob(embedder, job, root !== undefined), {
        ...(ids.length === 0 ? {} : { runs: ids }),
        places: embedder.window,
        signal: stop.signal,
        untilDone: options.untilDone ?? false,
        identity: () => identityOf(embedder, options, preprocess, normalize),
        isFatal: (error) => FATAL.test(errorCode(error)),
        onUnfit: (_run, error) => progress.note(errorMessage(error)),
        onResult: ({ run, name, outcome, error }) => {
          progress.advance(outcome !== 'ok');
          if (outcome === 'ok') return;
          progress.note(`${run}: ${printable(name)}: ${errorCode(error)}: ${printable(describeFailure(error))}`);
        },
      });
      await embedder.close();
      progress.stop();
      const { ok, failed, dead } = worked;
      stderr.write(`${ok} embedded, ${failed} failed, ${dead} dead\n`);
      return stop.signal.aborted && !options.untilDone ? EXIT.ok : failed + dead > 0 ? EXIT.failed : EXIT.ok;
    } catch (error) {
      await embedder.destroy(new Error('the worker has failed'));
      progress.stop();
      if (!FATAL.test(errorCode(error))) throw error;
      throw progress.done === 0 ? modelError(error) : new RunError(modelError(error).message, { cause: error });
    } finally {
      progress.stop();
      release();
    }
  });
}

/** Runs the operation that a job names. A path is opened only below the folders that this worker was told to share. */
async function embedJob(embedder: Embedder, { operation, input }: BulkJob, hasRoots: boolean): Promise<Float32Array> {
  if (operation === 'embedImageBytes' && input instanceof Uint8Array) return await embedder.embedBytes(input);
  if (operation === 'embedImageUrl' && typeof input === 'string') {
    return await embedder.embed({ kind: 'url', name: input });
  }
  if (operation === 'embedImage' && typeof input === 'string' && hasRoots) {
    return await embedder.embed({ kind: 'path', name: input });
  }
  const why =
    operation === 'embedImage'
      ? 'this worker opens no paths; --root names a folder that it may read'
      : 'unknown operation';
  throw Object.assign(new Error(`Cannot run ${operation}: ${why}`), { code: 'ERR_NOT_SERVED', fault: 'caller' });
}

async function identityOf(
  embedder: Embedder,
  { model }: ModelChoice,
  preprocess: 'fast' | 'exact',
  normalize: boolean,
): Promise<BulkIdentity> {
  const description = await embedder.describe().catch(async (error: unknown) => {
    throw await withNearestModel(error, model);
  });
  const value = await identifyModel(description, { preprocess, normalize });
  const { digest, normalized, dimensions } = value;
  return { digest: `${digest}-${value.preprocess}-${normalized}-${dimensions}`, value };
}
