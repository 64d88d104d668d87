import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { errorCode, UsageError } from '../exit-codes.js';
import type { ModelIdentity } from '../../image-embedding/index.js';
import { describeModel, isSameModel } from './held-model.js';
import { parseRecord } from './record.js';
import { ReplacingFile } from './replacing-file.js';

/** An embedding that an output holds. */
export interface HeldVector {
  readonly path: string;
  readonly embedding: Float32Array;
}

const MAX_SAMPLES = 10;

/** What an output file already holds. */
export interface HeldOutput {
  /** The paths of its records. */
  readonly paths: ReadonlySet<string>;
  /** How many of the records are errors. */
  readonly failed: number;
  /** The dimension of its embeddings, where it holds one. */
  readonly dimension: number | undefined;
  /** The model of its embeddings, where its lines say it. */
  readonly model: ModelIdentity | undefined;
  /** Some of its embeddings, the first ones: to find out which model made them where no line says it. */
  readonly samples: readonly HeldVector[];
  /** How many bytes of it are whole lines. */
  readonly bytes: number;
  /** Whether a line follows that the end of an earlier run has torn. */
  readonly isTorn: boolean;
}

const NEWLINE = 10;

/**
 * Reads what an earlier run has written, so that the next one can go on behind it. The last line may be torn, by a kill or a power cut; any
 * other line that is not a record means that the file is something else, and it is left alone. A file that does not exist holds nothing.
 *
 * @param withErrors Whether what failed counts as held.
 *
 * @throws UsageError when the file is not an output of `millrace embed`.
 */
export async function readHeldOutput(
  file: string,
  { withErrors = true }: { readonly withErrors?: boolean } = {},
): Promise<HeldOutput> {
  const paths = new Set<string>();
  let failed = 0;
  let dimension: number | undefined;
  let model: ModelIdentity | undefined;
  const samples: HeldVector[] = [];
  let bytes = 0;
  let lineNumber = 0;

  const take = (line: string): void => {
    lineNumber++;
    const record = parseRecord(line);
    if (record === undefined) {
      throw new UsageError(`Cannot resume ${file}: line ${lineNumber} is not a record of 'millrace embed'`);
    }
    if ('error' in record) {
      failed++;
      if (!withErrors) return;
    } else if (dimension !== undefined && dimension !== record.embedding.length) {
      throw new UsageError(
        `Cannot resume ${file}: line ${lineNumber} has ${record.embedding.length} dimensions, those before it ${dimension}`,
      );
    } else {
      dimension = record.embedding.length;
      if (samples.length < MAX_SAMPLES) samples.push(record);
      if (model !== undefined && record.model !== undefined && !isSameModel(model, record.model)) {
        throw new UsageError(
          `Cannot resume ${file}: line ${lineNumber} is of ${describeModel(record.model)}, those before it of ${describeModel(model)}`,
        );
      }
      model ??= record.model;
    }
    paths.add(record.path);
  };

  const lines = wholeLines(file);
  let next = await lines.next();
  for (; next.done !== true; next = await lines.next()) {
    take(next.value.toString('utf8'));
    bytes += next.value.length + 1;
  }
  // A last line without its newline is embedded again, even if it reads well: a torn number is still a number.
  return { paths, failed, dimension, model, samples, bytes, isTorn: next.value };
}

/**
 * Takes the records of errors out of an output, so that their inputs are new again. The file is replaced at once by one without them.
 *
 * @throws UsageError when the file is not an output of `millrace embed`, or cannot be replaced.
 */
export async function dropErrors(file: string): Promise<void> {
  const target = await ReplacingFile.open(file);
  try {
    for await (const line of wholeLines(file)) {
      const record = parseRecord(line.toString('utf8'));
      if (record !== undefined && 'error' in record) continue;
      await target.append(Buffer.concat([line, Buffer.of(NEWLINE)]));
    }
  } catch (error) {
    await target.discard();
    throw error;
  }
  await target.commit();
}

/** The lines of a file that end in a newline, without it; answers whether another follows that does not. */
async function* wholeLines(file: string): AsyncGenerator<Buffer, boolean> {
  let rest: Buffer[] = [];
  if (!(await exists(file))) return false;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const line = Buffer.concat([...rest, chunk.subarray(from, end)]);
      rest = [];
      yield line;
      from = end + 1;
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
  }
  return rest.length > 0;
}

async function exists(file: string): Promise<boolean> {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new UsageError(`Cannot resume ${file}: it is not a regular file`);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
