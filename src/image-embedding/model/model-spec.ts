/**
 * A model as one plain record: which file, what an image has to become before it goes in, and which output is the embedding. It crosses to the
 * child process as it is. Read from a folder by `readModelFolder`, or written by hand with `createModelSpec`.
 */

import path from 'node:path';
import {
  type Check,
  faultOf,
  fillOptions,
  group,
  numberFrom,
  type OptionTable,
  oneOf,
  option,
  positiveIntegerUpTo,
  required,
  requireNonNegativeInteger,
  requireNumber,
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

/** The option table of an output. */
export const OUTPUT_OPTIONS: OptionTable<OutputSpec> = {
  name: option(requireString),
  pooling: option(oneOf(['cls', 'mean', 'none'])),
};

const MAX_SIDE = 16_384;

const MODEL_SPEC_OPTIONS = {
  file: required((action, name, value) => path.resolve(requireString(action, name, value))),
  name: option(requireString),
  size: required(requireSize),
  fit: option(oneOf(['crop', 'stretch']), 'crop'),
  shortestEdge: option(positiveIntegerUpTo(MAX_SIDE)),
  resample: option(oneOf(['nearest', 'bilinear', 'bicubic', 'lanczos']), 'bicubic'),
  rescale: option(numberFrom(1e-9, 1e9), 1 / 255),
  mean: option(tripleFrom(-1e9), [0, 0, 0]),
  std: option(tripleFrom(1e-9), [1, 1, 1]),
  channels: option(oneOf(['rgb', 'bgr']), 'rgb'),
  output: group(OUTPUT_OPTIONS),
  dimensions: option(requireDimensions, []),
} satisfies OptionTable<ModelSpecOptions>;

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
  const given = fillOptions('Cannot create model spec', options, MODEL_SPEC_OPTIONS);
  const { file, name = path.basename(file, '.onnx'), size, fit, resample, rescale, channels } = given;
  return freeze({
    name,
    file,
    family: 'custom',
    preprocess: {
      resize: fit === 'crop' ? { shortestEdge: given.shortestEdge ?? Math.min(size.width, size.height) } : size,
      resample,
      crop: fit === 'crop' ? size : undefined,
      rescale,
      mean: [...given.mean],
      std: [...given.std],
      output: size,
      layout: 'chw',
      dtype: 'float32',
    },
    channels,
    output: given.output,
    dimensions: [...given.dimensions],
  });
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

function requireSize(
  action: string,
  name: string,
  value: unknown,
): { readonly width: number; readonly height: number } {
  const { width, height } = typeof value === 'object' ? Object(value) : { width: value, height: value };
  return {
    width: requirePositiveInteger(action, name, width, MAX_SIDE),
    height: requirePositiveInteger(action, name, height, MAX_SIDE),
  };
}

type Triple = readonly [number, number, number];

function tripleFrom(min: number): Check<Triple> {
  return (action, name, value) => {
    if (!Array.isArray(value) || value.length !== 3) throw faultOf(action, name, 'an array of three numbers', value);
    return value.map((each) => requireNumber(action, name, each, min, 1e9)) as readonly number[] as Triple;
  };
}

function requireDimensions(action: string, name: string, value: unknown): readonly number[] {
  if (!Array.isArray(value)) throw faultOf(action, name, 'an array of numbers', value);
  return [...new Set(value.map((each) => requireNonNegativeInteger(action, name, each)))].sort((a, b) => b - a);
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
