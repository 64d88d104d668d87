/**
 * A model as one plain record: which file, what an image has to become before it goes in, and which output is the embedding. It crosses to the
 * child process as it is. Read from a folder by `readModelFolder`, or written by hand with `createModelSpec`.
 */

import path from 'node:path';
import {
  requireNonNegativeInteger,
  requireNumber,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireString,
} from '../../core/index.js';

/** How an output of many vectors becomes one: the first (class) token, or the mean of all; `'none'` for an output that is one vector. */
export type Pooling = 'cls' | 'mean' | 'none';

/** Which of a model's outputs is the embedding, where its name and shape do not tell. */
export interface OutputSpec {
  /** The output's name; by default the first there is of `image_embeds`, `embedding`, `pooler_output`, `last_hidden_state`, or the only one. */
  readonly name?: string | undefined;
  /** How several vectors become one; by default what the model's family does. */
  readonly pooling?: Pooling | undefined;
}

/** Everything that is needed to load a model and feed it. */
export interface ModelSpec {
  /** A short name for messages and metrics. */
  readonly name: string;
  /** The absolute path of the ONNX file. */
  readonly file: string;
  /** The model type, as `config.json` names it (`clip_vision_model`, `dinov2`); `'custom'` for a spec made by hand. */
  readonly family: string;
  /** The preprocessing of an image. */
  readonly preprocess: PreprocessSpec;
  /** The order of the planes that the model was trained with; nearly always `'rgb'`. */
  readonly channels: 'rgb' | 'bgr';
  /** Which output is the embedding. */
  readonly output: OutputSpec;
  /** The lengths that the embedding may be cut to (a model trained for it says so), longest first; empty when only its full length. */
  readonly dimensions: readonly number[];
}

/** What {@link createModelSpec} is given. */
export interface ModelSpecOptions {
  /** The ONNX file. */
  readonly file: string;
  /** A short name for messages and metrics; by default the file's name. */
  readonly name?: string | undefined;
  /** Width and height in pixels of what goes in: one number for a square. */
  readonly size: number | { readonly width: number; readonly height: number };
  /**
   * `'crop'` (the default) scales the shorter side to `shortestEdge` and crops the centre; `'stretch'` scales to the size exactly.
   */
  readonly fit?: 'crop' | 'stretch' | undefined;
  /** For `fit: 'crop'`: what the shorter side is scaled to before the crop; by default the shorter side of `size`. */
  readonly shortestEdge?: number | undefined;
  /** The interpolation, `'bicubic'` by default. */
  readonly resample?: Resample | undefined;
  /** What each byte is multiplied by, 1/255 by default. */
  readonly rescale?: number | undefined;
  /** The mean of each channel after rescaling, `[0, 0, 0]` by default. */
  readonly mean?: readonly [number, number, number] | undefined;
  /** The standard deviation of each channel after rescaling, `[1, 1, 1]` by default. */
  readonly std?: readonly [number, number, number] | undefined;
  /** The order of the planes, `'rgb'` by default. */
  readonly channels?: 'rgb' | 'bgr' | undefined;
  /** Which output is the embedding. */
  readonly output?: OutputSpec | undefined;
  /** Shorter lengths that the embedding may be cut to. */
  readonly dimensions?: readonly number[] | undefined;
}

const RESAMPLES: readonly Resample[] = ['nearest', 'bilinear', 'bicubic', 'lanczos'];
const KNOWN = [
  'file',
  'name',
  'size',
  'fit',
  'shortestEdge',
  'resample',
  'rescale',
  'mean',
  'std',
  'channels',
  'output',
  'dimensions',
] as const;

/**
 * Describes a model that has no Hugging Face folder.
 *
 * The file is not opened: that it exists and fits is checked when a worker loads it.
 *
 * @param options See {@link ModelSpecOptions}.
 * @returns A frozen spec, to be given as `model` to {@link createImageEmbeddingPool}.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const spec = createModelSpec({ file: '/models/resnet.onnx', size: 224, shortestEdge: 256, output: { name: 'features' } });
 * spec.preprocess.resize; // => { shortestEdge: 256 }
 * spec.preprocess.crop; // => { width: 224, height: 224 }
 * ```
 */
export function createModelSpec(options: ModelSpecOptions): ModelSpec {
  const action = 'Cannot create model spec';
  const given = requireOptions<ModelSpecOptions>(action, options, KNOWN);
  const file = path.resolve(requireString(action, 'file', given.file));
  const size = typeof given.size === 'object' ? given.size : { width: given.size, height: given.size };
  const width = requirePositiveInteger(action, 'size', size?.width, 16_384);
  const height = requirePositiveInteger(action, 'size', size?.height, 16_384);
  const fit = given.fit === undefined ? 'crop' : requireOneOf(action, 'fit', given.fit, ['crop', 'stretch']);
  const shortestEdge =
    given.shortestEdge === undefined
      ? Math.min(width, height)
      : requirePositiveInteger(action, 'shortestEdge', given.shortestEdge, 16_384);
  return freeze({
    name: given.name === undefined ? path.basename(file, '.onnx') : requireString(action, 'name', given.name),
    file,
    family: 'custom',
    preprocess: {
      resize: fit === 'crop' ? { shortestEdge } : { width, height },
      resample: given.resample === undefined ? 'bicubic' : requireOneOf(action, 'resample', given.resample, RESAMPLES),
      crop: fit === 'crop' ? { width, height } : undefined,
      rescale: given.rescale === undefined ? 1 / 255 : requireNumber(action, 'rescale', given.rescale, 1e-9, 1e9),
      mean: given.mean === undefined ? [0, 0, 0] : requireTriple(action, 'mean', given.mean, -1e9),
      std: given.std === undefined ? [1, 1, 1] : requireTriple(action, 'std', given.std, 1e-9),
      output: { width, height },
      layout: 'chw',
      dtype: 'float32',
    },
    channels: given.channels === undefined ? 'rgb' : requireOneOf(action, 'channels', given.channels, ['rgb', 'bgr']),
    output: requireOutput(action, given.output),
    dimensions: requireDimensions(action, given.dimensions),
  });
}

/**
 * Checks which output is to be the embedding.
 *
 * @internal
 */
export function requireOutput(action: string, output: OutputSpec | undefined): OutputSpec {
  const given = requireOptions<OutputSpec>(action, output, ['name', 'pooling']);
  return {
    ...(given.name === undefined ? {} : { name: requireString(action, 'output.name', given.name) }),
    ...(given.pooling === undefined
      ? {}
      : { pooling: requireOneOf(action, 'output.pooling', given.pooling, ['cls', 'mean', 'none']) }),
  };
}

/**
 * Freezes a spec, its parts too.
 *
 * @internal
 */
export function freeze(spec: ModelSpec): ModelSpec {
  Object.freeze(spec.preprocess);
  Object.freeze(spec.output);
  Object.freeze(spec.dimensions);
  return Object.freeze(spec);
}

function requireTriple(action: string, name: string, value: unknown, min: number): readonly [number, number, number] {
  if (!Array.isArray(value) || value.length !== 3) {
    throw new TypeError(`${action}: ${name} must be an array of three numbers`);
  }
  const [red, green, blue] = value.map((each) => requireNumber(action, name, each, min, 1e9));
  return [red as number, green as number, blue as number];
}

function requireDimensions(action: string, dimensions: readonly number[] | undefined): readonly number[] {
  if (dimensions === undefined) return [];
  if (!Array.isArray(dimensions)) throw new TypeError(`${action}: dimensions must be an array of numbers`);
  for (const each of dimensions) requireNonNegativeInteger(action, 'dimensions', each);
  return [...new Set(dimensions as number[])].sort((a, b) => b - a);
}

/** How pixels are interpolated when an image is resized, in Pillow's and torchvision's meaning, antialiased. */
export type Resample = 'nearest' | 'bilinear' | 'bicubic' | 'lanczos';

/** Scales so that the shorter side has this many pixels, keeping the aspect ratio; the longer side is rounded down, as torchvision does. */
export interface ResizeShortestEdge {
  readonly shortestEdge: number;
}

/** Scales to exactly this size, the aspect ratio notwithstanding. */
export interface ResizeExactly {
  readonly width: number;
  readonly height: number;
}

/** The order of work is: orient by EXIF, to sRGB, alpha over white, resize, centre crop, rescale, normalise, planar. */
export interface PreprocessSpec {
  /** How the image is scaled; undefined leaves its size alone. */
  readonly resize: ResizeShortestEdge | ResizeExactly | undefined;
  /** The interpolation of `resize`. */
  readonly resample: Resample;
  /** The centre crop after the resize, in pixels (an image that is smaller is padded with zeros); undefined crops nothing. */
  readonly crop: { readonly width: number; readonly height: number } | undefined;
  /** What each byte is multiplied by, usually 1/255; ignored for `dtype: 'uint8'`. */
  readonly rescale: number;
  /** Taken from each channel (RGB) after rescaling; ignored for `dtype: 'uint8'`. */
  readonly mean: readonly [number, number, number];
  /** What each channel (RGB) is divided by after the mean is taken away; ignored for `dtype: 'uint8'`. */
  readonly std: readonly [number, number, number];
  /** The size of the result in pixels: what the crop, or else the resize, gives. */
  readonly output: { readonly width: number; readonly height: number };
  /** Planes in the order R, G, B, each row by row: `[3, height, width]`. */
  readonly layout: 'chw';
  /** `'float32'`: rescaled and normalised; `'uint8'`: the bytes as they are, for a graph that does the rest itself. */
  readonly dtype: 'float32' | 'uint8';
}
