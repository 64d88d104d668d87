/** Resuming a run: what an output already holds, and whether its vectors are of the model of this run. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { ModelIdentity } from '../../image-embedding/index.js';
import { errorCode, UsageError } from '../errors.js';
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
  /** The dimension of its embeddings, if it holds any. */
  readonly dimension: number | undefined;
  /** The model of its embeddings, if its lines name one. */
  readonly model: ModelIdentity | undefined;
  /** The first of its embeddings, to compare with this run's model when no line names one. */
  readonly samples: readonly HeldVector[];
  /** How many bytes of it are whole lines. */
  readonly bytes: number;
  /** Whether a torn line follows. */
  readonly isTorn: boolean;
}

const NEWLINE = 10;

/**
 * Reads what an earlier run has written, so that the next one can continue. Only the last line may be torn, by a kill or a power cut. A file
 * that does not exist holds nothing.
 *
 * @param withErrors Whether inputs that failed count as held.
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
  // A last line without its newline is dropped even if it parses: a torn number is still a number.
  return { paths, failed, dimension, model, samples, bytes, isTorn: next.value };
}

/**
 * Removes the error records of an output, so that their inputs are embedded again. The file is replaced in one step.
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

/** The lines of a file, without their newlines; returns whether a line without one follows. */
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

/** The least cosine of two vectors of one picture by one model; machines and versions round differently. */
const SAME_COSINE = 0.9995;
const SAME_LENGTH = 0.01;

/** Whether vectors of both can be compared. Names and revisions don't count, only the content of the files. */
export function isSameModel(one: ModelIdentity, other: ModelIdentity): boolean {
  return (
    one.digest === other.digest &&
    one.preprocess === other.preprocess &&
    one.normalized === other.normalized &&
    one.dimensions === other.dimensions
  );
}

/** A model in a few words. */
export function describeModel({ name, revision, digest, dtype, preprocess, normalized }: ModelIdentity): string {
  const at = revision === undefined ? '' : `@${revision.slice(0, 12)}`;
  const how = [dtype, `preprocess ${preprocess}`, normalized ? 'normalized' : 'not normalized', `digest ${digest}`];
  return `${name}${at} (${how.filter((each) => each !== undefined).join(', ')})`;
}

/**
 * Refuses to mix vectors of two models in one output. If the output names no model, one of its pictures is embedded again and compared.
 *
 * @param embed Embeds a held picture by its name.
 * @throws UsageError when the output is of another model, or its model can't be found out.
 */
export async function requireHeldModel(
  out: string,
  held: HeldOutput,
  model: ModelIdentity,
  embed: (name: string) => Promise<Float32Array>,
): Promise<void> {
  if (held.dimension === undefined) return;
  if (held.dimension !== model.dimensions) {
    throw new UsageError(
      `Cannot resume: the output holds vectors of ${held.dimension} dimensions, this model gives ${model.dimensions}`,
    );
  }
  if (held.model !== undefined) {
    if (isSameModel(held.model, model)) return;
    throw new UsageError(
      `Cannot resume ${out}: it holds vectors of ${describeModel(held.model)}, and this run's are of ${describeModel(model)}; give the model and options of that run, or another output`,
    );
  }
  const verdicts: boolean[] = [];
  for (const sample of held.samples) {
    const embedding = await embed(sample.path).catch(() => undefined);
    if (embedding === undefined) continue;
    if (isSameVector(sample, embedding)) return;
    // A picture may have been edited since.
    verdicts.push(false);
    if (verdicts.length === 2) break;
  }
  const start = `Cannot resume ${out}: it does not say which model its vectors are of, and`;
  throw new UsageError(
    verdicts.length > 0
      ? `${start} this one (${describeModel(model)}) gives others for the same pictures; give the model and options of that run, or another output`
      : `${start} none of its first pictures can be embedded again to compare; write to another output`,
  );
}

function isSameVector({ embedding: one }: HeldVector, other: Float32Array): boolean {
  let dot = 0;
  let oneLength = 0;
  let otherLength = 0;
  for (let index = 0; index < one.length; index++) {
    const [a, b] = [one[index] as number, other[index] as number];
    dot += a * b;
    oneLength += a * a;
    otherLength += b * b;
  }
  const lengths = Math.sqrt(oneLength * otherLength);
  return dot >= SAME_COSINE * lengths && Math.abs(oneLength / otherLength - 1) <= 2 * SAME_LENGTH;
}
