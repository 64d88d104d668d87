/** The options that commands share: the model, the preparation of pictures, and limits. */
import { stat } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ImageLimitOptions, ModelDtype, ModelSource, PreprocessMode } from '../../image-embedding/index.js';
import { UsageError } from '../errors.js';

/** The folder of `millrace demo`, when no option says it. */
export const DEMO_FOLDER = 'demo-out';

/** The options of {@link addModelOptions}. */
export interface ModelChoice {
  readonly model?: string;
  readonly dtype?: ModelDtype;
  readonly revision?: string;
}

/** The options of {@link addVectorOptions}. */
export interface VectorOptions {
  readonly preprocess?: PreprocessMode;
  /** False with `--no-normalize`. */
  readonly normalize?: boolean;
}

/** The options of {@link addLimitOptions}. */
export interface LimitOptions {
  readonly maxPixels?: number;
  readonly maxBytes?: number;
  /** In ms. */
  readonly decodeTimeout?: number;
  /** In ms. */
  readonly urlTimeout?: number;
}

// Not imported from image-embedding, which --help does not load.
const DTYPES = Object.keys({
  fp32: true,
  fp16: true,
  q8: true,
  int8: true,
  uint8: true,
  q4: true,
  q4f16: true,
  bnb4: true,
} satisfies Record<ModelDtype, true>);

/** Adds `--dtype` and `--revision`. */
export function addModelOptions(command: Command): Command {
  return command
    .addOption(new Option('--dtype <format>', 'the number format of its weights').choices(DTYPES))
    .option('--revision <name>', 'of a model on the hub: its branch, tag or commit');
}

/** Adds `--preprocess`. */
export function addPreprocessOption(command: Command, fallback?: PreprocessMode): Command {
  const text = "how pictures are scaled: fast, or as exactly as the model's authors did";
  const option = new Option('--preprocess <mode>', text).choices(['fast', 'exact']);
  return command.addOption(fallback === undefined ? option : option.default(fallback));
}

/** Adds `--preprocess` and `--no-normalize`. */
export function addVectorOptions(command: Command): Command {
  return addPreprocessOption(command, 'fast').option(
    '--no-normalize',
    'leave the vectors as the model gives them, instead of scaling them to length 1',
  );
}

/** Adds the limits. */
export function addLimitOptions(command: Command): Command {
  return command
    .option('--max-pixels <n>', 'the most pixels of a picture, as 150e6 or 150M (default: 50M)', parsePixels)
    .option('--max-bytes <n>', 'the most bytes of a picture (default: 100M, and 20M for one behind a URL)', parseBytes)
    .option('--decode-timeout <s>', 'how long decoding a picture may take, in seconds (default: 20)', parseSeconds)
    .option(
      '--url-timeout <s>',
      'how long a server may take to answer, and again to send the picture, in seconds (default: 5)',
      parseSeconds,
    );
}

/**
 * The model that options name; undefined for the default one.
 *
 * @throws UsageError when they contradict each other.
 */
export async function modelSource({ model, dtype, revision }: ModelChoice): Promise<ModelSource | undefined> {
  if (model === '') throw new UsageError("Cannot use model: '--model' is an empty string");
  if (dtype === undefined && revision === undefined) return model;
  const from = model ?? 'default';
  const isHere = from === 'default' || (await stat(from).catch(() => undefined)) !== undefined;
  if (revision !== undefined && (isHere || !from.includes('/'))) {
    throw new UsageError(`Cannot use model: '--revision' needs a model on the hub, received ${from}`);
  }
  return { from, ...(dtype === undefined ? {} : { dtype }), ...(revision === undefined ? {} : { revision }) };
}

/** The limits that options set. */
export function imageLimits({ maxPixels, maxBytes, decodeTimeout, urlTimeout }: LimitOptions): ImageLimitOptions {
  return {
    ...(maxPixels === undefined ? {} : { maxPixels }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(decodeTimeout === undefined ? {} : { decodeTimeoutMs: decodeTimeout }),
    url: {
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...(urlTimeout === undefined ? {} : { connectTimeoutMs: urlTimeout, bodyTimeoutMs: urlTimeout }),
    },
  };
}

const FLAGS: readonly (readonly [code: string, text: RegExp, flag: string])[] = [
  ['ERR_IMAGE_TOO_LARGE', /pixels/, '--max-pixels allows more'],
  ['ERR_IMAGE_TOO_LARGE', /bytes/, '--max-bytes allows more'],
  ['ERR_IMAGE_TIMEOUT', /./, '--decode-timeout allows more'],
  ['ERR_URL_FETCH', /within \d+ ms/, '--url-timeout allows more'],
  ['ERR_URL_FORBIDDEN', /public/, '--allow-private-urls allows it'],
];

/** The message of an image's failure, with the option that would accept the image. */
export function withFlag(code: string, message: string): string {
  const [, , flag] = FLAGS.find(([each, text]) => each === code && text.test(message)) ?? [];
  return flag === undefined ? message : `${message} (${flag})`;
}

const FACTORS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** Parses a count of things. */
export function countUpTo(most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!/^\d+$/.test(text) || count < 1 || count > most) {
      throw new InvalidArgumentError(`expected a number from 1 to ${most}`);
    }
    return count;
  };
}

/** Parses an amount such as 150000000, 150_000_000, 150e6 and 150M. */
function amountUpTo(most: number): (text: string) => number {
  return (text) => {
    const [, digits = '', factor = ''] = /^([\d_]+(?:\.\d+)?(?:e\d+)?)([kmg]?)$/i.exec(text) ?? [];
    const count = Number(digits.replaceAll('_', '')) * (FACTORS[factor.toLowerCase()] ?? 1);
    if (digits === '' || !Number.isSafeInteger(count) || count < 1 || count > most) {
      throw new InvalidArgumentError(`expected a number from 1 to ${most}, such as 150e6 or 150M`);
    }
    return count;
  };
}

/** The limit of libvips. */
const MAX_PIXELS = 268_402_689;
const parsePixels = amountUpTo(MAX_PIXELS);
/** Parses a number of bytes, as 32e6 or 32M. */
export const parseBytes: (text: string) => number = amountUpTo(2 ** 31 - 1);
const MAX_SECONDS = 86_400;

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || seconds <= 0 || seconds > MAX_SECONDS) {
    throw new InvalidArgumentError(`expected a number of seconds, more than 0 and at most ${MAX_SECONDS}`);
  }
  return Math.max(1, Math.round(seconds * 1000));
}

/** Parses a port; 0 is any free one. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError('expected a number from 0 to 65535');
  return port;
}

/** Parses a score. */
export function parseScore(text: string): number {
  const score = Number(text);
  if (text.trim() === '' || !(score >= -1 && score <= 1))
    throw new InvalidArgumentError('expected a number from -1 to 1');
  return score;
}

/** Parses a place: `48.86,2.35` or, with kilometres, `48.86,2.35,20`. */
export function parsePlace(text: string): { readonly lat: number; readonly lon: number; readonly km?: number } {
  const [lat = Number.NaN, lon = Number.NaN, km, ...more] = text.split(',').map(Number);
  const isPlace =
    Math.abs(lat) <= 90 && Math.abs(lon) <= 180 && !Number.isNaN(km) && !((km ?? 0) < 0) && more.length === 0;
  if (!isPlace) throw new InvalidArgumentError('expected latitude,longitude or latitude,longitude,kilometres');
  return { lat, lon, ...(km === undefined ? {} : { km }) };
}
