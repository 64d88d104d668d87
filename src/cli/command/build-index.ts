import { rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { isMillraceError } from '../../core/index.js';
import type { ImageEmbeddingPool, ModelIdentity, PreprocessMode } from '../../image-embedding/index.js';
import { createIndex, type ImageIndex, type IndexProgress, openIndex, updateIndex } from '../../search/index.js';
import { EXIT, type ExitCode, modelError, RunError, UsageError } from '../errors.js';
import { collectInputs, IMAGE_ENDINGS } from '../input/inputs.js';
import { handleInterrupts } from '../terminal/interrupts.js';
import { Progress } from '../terminal/progress.js';
import { formatDuration, formatRate, printable } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import {
  createIndexPool,
  DEFAULT_INDEX,
  identifyPool,
  indexError,
  openIndexFolder,
  sourceOf,
  sourceOfChoice,
} from './index-files.js';
import { type ModelChoice, modelSource, withFlag } from './options.js';
import { watchFolders } from './watch-folders.js';

/** The options of `millrace index`. */
export interface BuildIndexOptions extends ModelChoice {
  readonly index?: string;
  readonly preprocess?: PreprocessMode;
  readonly workers?: number;
  readonly exclude?: readonly string[];
  readonly null?: boolean;
  readonly retryErrors?: boolean;
  readonly reindex?: boolean;
  readonly watch?: boolean;
  readonly allowPrivateUrls?: boolean;
}

const MAX_NOTED_FAILURES = 10;

/** `millrace index`: embeds what is new or has changed, and takes out what is gone. */
export async function buildIndexCommand(
  context: CommandContext,
  args: readonly string[],
  options: BuildIndexOptions,
): Promise<ExitCode> {
  const folder = options.index ?? DEFAULT_INDEX;
  if (options.watch && args.includes('-')) throw new UsageError("Cannot watch: '-' is a list, not a folder");
  if ((await stat(folder).catch(() => undefined))?.isFile()) {
    throw new UsageError(`Cannot make index ${folder}: it is a file, name a folder`);
  }
  const interrupt = new AbortController();
  await recoverReplacement(folder);
  const known = await openIndexFolder(folder).catch((error: unknown) => {
    if (isMillraceError((error as Error).cause, 'ERR_INDEX_NOT_FOUND')) return undefined;
    throw error;
  });
  const given = await modelSource(options);
  const model = given ?? (known?.source === undefined || options.reindex ? undefined : sourceOf(known));
  const preprocess = options.preprocess ?? known?.model?.preprocess ?? 'fast';
  await known?.close();
  const replaced = options.reindex && known !== undefined ? await IndexReplacement.begin(folder) : undefined;
  const place = replaced?.place ?? folder;
  const status: Status = {};
  const pool = createIndexPool({
    model,
    workers: options.workers,
    preprocess,
    allowPrivateUrls: options.allowPrivateUrls,
    onDownload: (text) => {
      if (status.progress !== undefined) status.progress.status = text;
    },
  });
  const release = handleInterrupts({
    onFirst: () => {
      context.stderr.write('stopping: what is finished is kept; once more to quit at once\n');
      interrupt.abort();
    },
    onSecond: () => {
      void pool.destroy(new Error('quit at once'));
      process.exit(EXIT.interrupted);
    },
  });
  let index: ImageIndex | undefined;
  try {
    const identity = await identifyPool(pool, options.model, preprocess);
    await replaced?.discardOther(identity);
    index = await openForUpdate(place, identity, options);
    const run = { context, args, options, folder: place, index, pool, signal: interrupt.signal, status };
    let code = await updateOnce(run);
    if (replaced !== undefined && !interrupt.signal.aborted) {
      await index.close();
      await replaced.finish();
      index = await openIndexFolder(folder, { writable: true });
      context.stderr.write(`${folder} is made anew\n`);
      Object.assign(run, { index, folder });
    }
    if (options.watch && !interrupt.signal.aborted) {
      context.stderr.write('watching: Ctrl-C ends it\n');
      for await (const _ of watchFolders(args, interrupt.signal)) {
        code = await updateOnce(run, true).catch((error: unknown) => {
          // The folders may be empty for a while.
          if (!(error instanceof UsageError)) throw error;
          context.stderr.write(`${error.message}\n`);
          return code;
        });
      }
      return EXIT.ok;
    }
    return interrupt.signal.aborted ? EXIT.interrupted : code;
  } finally {
    release();
    await index?.close();
    await replaced?.release();
    await pool.destroy(new Error('the command has ended'));
  }
}

/** A new index beside the one that it takes the place of, which stays searchable until then. */
class IndexReplacement {
  readonly #folder: string;
  readonly #old: ImageIndex;

  private constructor(folder: string, old: ImageIndex) {
    this.#folder = folder;
    this.#old = old;
  }

  /** Keeps other writers away from the old index. @throws UsageError when one is at work. */
  static async begin(folder: string): Promise<IndexReplacement> {
    return new IndexReplacement(folder, await openIndexFolder(folder, { writable: true }));
  }

  /** Where the new one is made. One that was interrupted is continued. */
  get place(): string {
    return `${this.#folder}.new`;
  }

  /** Removes a new one that was begun with another model, or can't be read. */
  async discardOther(model: ModelIdentity): Promise<void> {
    const found = await openIndex(this.place, { model }).catch((error: unknown) => {
      if (!isMillraceError(error) || !/^ERR_INDEX_(MODEL|CORRUPT|NOT_FOUND)$/.test(error.code)) throw error;
      return undefined;
    });
    if (found === undefined) await rm(this.place, { recursive: true, force: true });
    else await found.close();
  }

  /** Puts the new one into place, and removes the old one. */
  async finish(): Promise<void> {
    const old = `${this.#folder}.old`;
    await this.release();
    await rm(old, { recursive: true, force: true });
    await rename(this.#folder, old);
    await rename(this.place, this.#folder);
    await rm(old, { recursive: true, force: true });
  }

  async release(): Promise<void> {
    await this.#old.close();
  }
}

/** Finishes a replacement that was cut off between its two renames. */
async function recoverReplacement(folder: string): Promise<void> {
  const isThere = async (name: string): Promise<boolean> => (await stat(name).catch(() => undefined)) !== undefined;
  if ((await isThere(folder)) || !(await isThere(`${folder}.old`))) return;
  await rename((await isThere(`${folder}.new`)) ? `${folder}.new` : `${folder}.old`, folder);
}

interface Status {
  progress?: Progress;
}

interface IndexRun {
  readonly context: CommandContext;
  readonly args: readonly string[];
  readonly options: BuildIndexOptions;
  readonly folder: string;
  readonly index: ImageIndex;
  readonly pool: ImageEmbeddingPool;
  readonly signal: AbortSignal;
  readonly status: Status;
}

/** Opens the index for the model, or makes it. @throws UsageError */
async function openForUpdate(folder: string, model: ModelIdentity, options: BuildIndexOptions): Promise<ImageIndex> {
  const isThere = await stat(path.join(folder, 'index.json')).then(
    () => true,
    () => false,
  );
  if (isThere) return await openIndexFolder(folder, { writable: true, model });
  const source = await sourceOfChoice(options);
  try {
    return await createIndex(folder, { dimension: model.dimensions, model, source });
  } catch (error) {
    throw indexError(error, folder);
  }
}

async function updateOnce(run: IndexRun, isQuiet = false): Promise<ExitCode> {
  const { context, args, options, folder, index, pool, signal, status } = run;
  const { stderr } = context;
  const inputs = await collectInputs(args, {
    endings: IMAGE_ENDINGS,
    exclude: [...(options.exclude ?? [])],
    isNullSeparated: options.null,
    stdin: context.stdin,
    signal,
  });
  if (!isQuiet) for (const note of inputs.notes) stderr.write(`note: ${note}\n`);
  const files: string[] = [];
  for await (const { name, file } of inputs.items) files.push(file ?? name);
  const roots: string[] = [];
  for (const arg of args) {
    const found = await stat(arg).catch(() => undefined);
    if (found?.isDirectory()) roots.push(arg);
  }
  const progress = new Progress({
    stream: isQuiet ? { write: () => true } : stderr,
    unit: 'pictures',
    total: files.length,
  });
  status.progress = progress;
  let last: IndexProgress | undefined;
  let noted = 0;
  const unreadable = inputs.unreadable.map(({ name }) => name);
  for (const { name, error } of inputs.unreadable)
    stderr.write(`${printable(name)}: ${error.code}: ${error.message}\n`);
  try {
    const updates = updateIndex(index, pool, files, { roots, unreadable, retryErrors: options.retryErrors, signal });
    for await (const each of updates) {
      for (let count = progress.done; count < each.done; count++) progress.advance(count < each.failed);
      if (each.failure !== undefined && ++noted <= MAX_NOTED_FAILURES && !isQuiet) {
        const { path: file, error } = each.failure;
        progress.note(`${printable(file)}: ${error.code}: ${printable(withFlag(error.code, error.message))}`);
      }
      last = each;
    }
  } catch (error) {
    if (!signal.aborted) {
      const failure = indexError(error, folder);
      if (failure !== error) throw new RunError((failure as Error).message, { cause: error });
      throw new RunError(`${modelError(error).message}; run the same command again to continue`, { cause: error });
    }
  } finally {
    progress.stop();
  }
  stderr.write(conclusion(index, folder, last, progress.elapsedMs, signal.aborted));
  return (last?.failed ?? 0) > 0 || unreadable.length > 0 ? EXIT.failed : EXIT.ok;
}

function conclusion(
  index: ImageIndex,
  folder: string,
  last: IndexProgress | undefined,
  ms: number,
  isInterrupted: boolean,
): string {
  const { embedded = 0, unchanged = 0, moved = 0, removed = 0, failed = 0, emptyRoots = [] } = last ?? {};
  const rate = embedded > 0 ? ` (${formatRate((embedded / ms) * 1000)} pictures/s)` : '';
  const parts = [
    `${embedded} embedded`,
    ...[
      [unchanged, 'unchanged'],
      [moved, 'moved or copied'],
      [removed, 'removed'],
      [failed, 'failed'],
    ].flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}`])),
  ];
  const kept = emptyRoots.map(
    (root) => `note: no pictures in ${printable(root)}, those of the index are kept: it may not be mounted\n`,
  );
  const state = `${folder} holds ${index.size} ${index.size === 1 ? 'picture' : 'pictures'}`;
  const ending = isInterrupted ? 'interrupted: run the same command again to continue\n' : '';
  return `${kept.join('')}${parts.join(', ')} in ${formatDuration(ms)}${rate}; ${state}\n${ending}`;
}
