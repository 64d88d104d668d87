import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { identifyModel, type ModelDescription } from '../../image-embedding/index.js';
import { makeFolder, mapInOrder } from '../../image-embedding/internal.js';
import { EXIT, type ExitCode, errorMessage, UsageError } from '../errors.js';
import { collectInputs, IMAGE_ENDINGS } from '../input/inputs.js';
import { JsonlFileWriter } from '../output/jsonl-writer.js';
import { lockOutput } from '../output/output-lock.js';
import type { EmbedRecord } from '../output/record.js';
import { ReplacingFile } from '../output/replacing-file.js';
import { findNeighbours, type Neighbour, type Report, renderReport } from '../output/report.js';
import { handleInterrupts } from '../terminal/interrupts.js';
import { Progress } from '../terminal/progress.js';
import { formatDuration, formatRate, renderTable } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import { PACKAGE_ROOT } from './context.js';
import { DEMO_VECTORS, indexToSearch } from './index-files.js';
import { withNearestModel } from './model-cache.js';
import { type ModelChoice, modelSource } from './options.js';
import { quitAtOnce, runEmbedding } from './run-embedding.js';

/** The options of `millrace demo`. */
export interface DemoOptions extends ModelChoice {
  readonly outDir: string;
  readonly workers: number;
}

type Embedded = Extract<EmbedRecord, { embedding: Float32Array }>;
type Failed = Extract<EmbedRecord, { error: object }>;

const MAX_PHOTOS = 1_000;
const NEAREST = 3;

/** `millrace demo`: embeds a folder of photographs, prints the nearest of each, and writes a page. */
export async function demoCommand(
  context: CommandContext,
  folder: string | undefined,
  options: DemoOptions,
): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const photos = folder ?? (await examplePhotos());
  if (!(await isFolder(photos))) throw new UsageError(`Cannot show ${photos}: it is not a folder`);
  const inputs = await collectInputs([photos], { endings: IMAGE_ENDINGS });
  if ((inputs.total ?? 0) > MAX_PHOTOS) {
    throw new UsageError(`Cannot show ${inputs.total} photographs on one page: ${MAX_PHOTOS} at most`);
  }
  const source = await modelSource(options);
  await makeOutput(options.outDir);
  const vectors = path.join(options.outDir, DEMO_VECTORS);
  const page = path.join(options.outDir, 'index.html');
  const lock = await lockOutput(vectors);
  const writer = await JsonlFileWriter.open(vectors).catch(async (error: unknown) => {
    await lock?.release();
    throw error;
  });

  const loopDelay = monitorEventLoopDelay({ resolution: 1 });
  const interrupt = new AbortController();
  const records: EmbedRecord[] = [];
  let progress: Progress | undefined;
  let release = (): void => {};
  try {
    const embedder = await context.createEmbedder({
      model: source,
      workers: options.workers,
      op: 'path',
      allowPrivateUrls: false,
      onDownload: (text) => {
        if (progress !== undefined) progress.status = text;
      },
    });
    loopDelay.enable();
    progress = new Progress({ stream: stderr, unit: 'images', total: inputs.total });
    release = handleInterrupts({
      onFirst: () => interrupt.abort(),
      onSecond: () => quitAtOnce(embedder, lock),
    });
    const { items } = inputs;
    let model: ModelDescription;
    const { signal } = interrupt;
    try {
      await runEmbedding({
        items,
        embedder,
        writer,
        progress,
        signal,
        unreadable: inputs.unreadable,
        identify: async () => {
          const description = await embedder.describe().catch(async (error: unknown) => {
            throw await withNearestModel(error, options.model);
          });
          return await identifyModel(description, { preprocess: 'fast', normalize: true });
        },
        onRecord: (record) => records.push(record),
      });
      model = await embedder.describe();
      await embedder.close();
    } catch (error) {
      await embedder.destroy(new Error('the run has failed'));
      throw error;
    }
    progress.stop();
    const embeddedMs = progress.elapsedMs;
    if (interrupt.signal.aborted) {
      stderr.write(`interrupted: ${records.length} of ${inputs.total} photographs are in ${vectors}\n`);
      return EXIT.interrupted;
    }

    const embedded = records.filter((record): record is Embedded => 'embedding' in record);
    const failed = records.filter((record): record is Failed => 'error' in record);
    const names = embedded.map((record) => path.basename(record.path));
    const nearest = await findNeighbours(
      embedded.map((record) => record.embedding),
      NEAREST,
    );
    stdout.write(renderNearest(names, nearest, stdout.columns));
    // Other models may know no words.
    if (embedded.length > 0 && options.model === undefined) stdout.write(`\ntry: ${await searchOf(vectors)}\n`);

    const thumbnails = await makeThumbnails(context, embedded);
    loopDelay.disable();
    const delay = `${(loopDelay.percentile(99) / 1e6).toFixed(1)} ms`;
    const rate = `${formatRate((records.length / embeddedMs) * 1000)} images/s`;
    await writePage(page, {
      title: 'Nearest photographs',
      facts: [
        ['photographs', String(embedded.length)],
        ['model', model.name],
        ['dimensions', String(model.dimension)],
        ['worker processes', String(embedder.workers)],
        ['speed', rate],
        ["caller's event-loop delay, p99", delay],
      ],
      photos: embedded.map((_, index) => ({
        name: names[index] as string,
        thumbnail: thumbnails[index],
        neighbours: nearest[index] as Neighbour[],
      })),
      failures: failed.map((record) => ({ name: path.basename(record.path), ...record.error })),
    });
    stdout.write(
      `\n${records.length} ${records.length === 1 ? 'photograph' : 'photographs'} in ${formatDuration(embeddedMs)} (${rate}, ${embedder.workers} worker processes, start included)\n` +
        `event-loop delay of this process: p99 ${delay}\n` +
        `vectors  ${vectors}\npage     ${pathToFileURL(path.resolve(page)).href}\n`,
    );
    return failed.length > 0 ? EXIT.failed : EXIT.ok;
  } finally {
    progress?.stop();
    release();
    loopDelay.disable();
    await writer.close();
    await lock?.release();
  }
}

async function examplePhotos(): Promise<string> {
  const folder = fileURLToPath(new URL('examples/photos', PACKAGE_ROOT));
  if (await isFolder(folder)) return path.relative('', folder) || '.';
  throw new UsageError(
    'Cannot run the demo: the example photographs are not in the package; name a folder of your own',
  );
}

async function isFolder(name: string): Promise<boolean> {
  const found = await stat(name).catch(() => undefined);
  return found?.isDirectory() ?? false;
}

async function makeOutput(folder: string): Promise<void> {
  try {
    await makeFolder(folder);
  } catch (error) {
    throw new UsageError(`Cannot make folder ${folder}: ${errorMessage(error)}`, { cause: error });
  }
}

function renderNearest(names: readonly string[], nearest: readonly Neighbour[][], width: number | undefined): string {
  const rows = names.map((name, index) => {
    const first = nearest[index]?.[0];
    return first === undefined ? [name, '', ''] : [name, names[first.index] as string, first.cosine.toFixed(3)];
  });
  return renderTable([{ title: 'photo' }, { title: 'nearest' }, { title: 'cosine', align: 'right' }], rows, width);
}

async function makeThumbnails(
  context: CommandContext,
  photos: readonly Embedded[],
): Promise<(Uint8Array | undefined)[]> {
  const maker = await context.createThumbnailMaker();
  const thumbnails: (Uint8Array | undefined)[] = [];
  try {
    // A photograph that was deleted since it was embedded is shown without its picture.
    const make = (photo: Embedded): Promise<Uint8Array | undefined> => maker.make(photo.path).catch(() => undefined);
    for await (const thumbnail of mapInOrder(photos, { concurrency: maker.window, map: make }))
      thumbnails.push(thumbnail);
    await maker.close();
  } catch (error) {
    await maker.destroy(new Error('the run has failed'));
    throw error;
  }
  return thumbnails;
}

/** The command that searches what was written. */
async function searchOf(vectors: string): Promise<string> {
  const command = `${(await isRepository()) ? 'npm run millrace --' : 'npx millrace'} search cat`;
  if (path.resolve(await indexToSearch(undefined)) === path.resolve(vectors)) return command;
  return `${command} --index ${/^[\w./:@-]+$/.test(vectors) ? vectors : `'${vectors.replaceAll("'", "'\\''")}'`}`;
}

/** Whether the working folder is the package's own, where its scripts are. */
async function isRepository(): Promise<boolean> {
  return (await realpath(process.cwd())) === (await realpath(fileURLToPath(PACKAGE_ROOT)));
}

async function writePage(file: string, report: Report): Promise<void> {
  const target = await ReplacingFile.open(file);
  try {
    for (const part of renderReport(report)) await target.append(Buffer.from(part));
  } catch (error) {
    await target.discard();
    throw error;
  }
  await target.commit();
}
