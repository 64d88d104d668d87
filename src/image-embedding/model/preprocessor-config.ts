/**
 * Reads `preprocessor_config.json` as the Hugging Face image processors mean it. A file may leave out what equals its class's default, so each
 * class is a row of defaults; three of them read `size` in a way of their own.
 */

import { ModelConfigError, ModelUnsupportedError } from './model-errors.js';
import type { PreprocessSpec, Resample, ResizeExactly, ResizeShortestEdge } from './model-spec.js';

type Triple = readonly [number, number, number];

const HALF: Triple = [0.5, 0.5, 0.5];
const CLIP_MEAN: Triple = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: Triple = [0.26862954, 0.26130258, 0.27577711];
const IMAGENET_MEAN: Triple = [0.485, 0.456, 0.406];
const IMAGENET_STD: Triple = [0.229, 0.224, 0.225];

/** Pillow's numbers for its resampling filters. Hamming and box are not done. */
const RESAMPLES: Readonly<Record<number, Resample>> = { 0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic' };

interface Defaults {
  /** What a bare number in `size` means, and the size when there is none. */
  readonly size: ResizeShortestEdge | ResizeExactly;
  readonly resample: number;
  readonly crop: number | undefined;
  readonly mean: Triple;
  readonly std: Triple;
  readonly normalize?: boolean | undefined;
  readonly flip?: boolean | undefined;
  /** ConvNext: below 384 the shorter side is scaled to `size / crop_pct` and `size` is cropped; from 384 on the image is stretched to it. */
  readonly cropShare?: boolean | undefined;
}

const square = (side: number): ResizeExactly => ({ width: side, height: side });

const PROCESSORS: ReadonlyMap<string, Defaults> = new Map(
  Object.entries<Defaults>({
    CLIP: { size: { shortestEdge: 224 }, resample: 3, crop: 224, mean: CLIP_MEAN, std: CLIP_STD },
    ChineseCLIP: { size: { shortestEdge: 224 }, resample: 3, crop: 224, mean: CLIP_MEAN, std: CLIP_STD },
    Siglip: { size: square(224), resample: 3, crop: undefined, mean: HALF, std: HALF },
    Blip: { size: square(384), resample: 3, crop: undefined, mean: CLIP_MEAN, std: CLIP_STD },
    Bit: { size: { shortestEdge: 224 }, resample: 3, crop: 224, mean: CLIP_MEAN, std: CLIP_STD },
    ViT: { size: square(224), resample: 2, crop: undefined, mean: HALF, std: HALF },
    DINOv3ViT: { size: square(224), resample: 2, crop: undefined, mean: IMAGENET_MEAN, std: IMAGENET_STD },
    DeiT: { size: square(256), resample: 3, crop: 224, mean: HALF, std: HALF },
    Beit: { size: square(256), resample: 3, crop: 224, mean: HALF, std: HALF },
    ConvNext: {
      size: { shortestEdge: 384 },
      resample: 2,
      crop: undefined,
      mean: HALF,
      std: HALF,
      cropShare: true,
    },
    MobileNetV1: { size: { shortestEdge: 256 }, resample: 2, crop: 224, mean: HALF, std: HALF },
    MobileNetV2: { size: { shortestEdge: 256 }, resample: 2, crop: 224, mean: HALF, std: HALF },
    MobileViT: {
      size: { shortestEdge: 224 },
      resample: 2,
      crop: 256,
      mean: [0, 0, 0],
      std: [1, 1, 1],
      normalize: false,
      flip: true,
    },
  }),
);

/** The keys that say what is done to an image, all of which are read here. */
const STEPS: ReadonlySet<string> = new Set([
  ...['do_resize', 'size', 'resample', 'do_center_crop', 'crop_size', 'do_rescale', 'rescale_factor'],
  ...['do_normalize', 'image_mean', 'image_std', 'do_flip_channel_order', 'do_pad'],
]);

/** Keys that change no pixel: names, forms of the result, and what is done to labels. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  ...['image_processor_type', 'feature_extractor_type', 'processor_class', 'auto_map', 'model_input_names'],
  ...['data_format', 'input_data_format', 'return_tensors', 'device', 'disable_grouping', 'default_to_square'],
  ...['do_convert_rgb', 'do_reduce_labels', 'reduce_labels', 'transformers_version', '_valid_processor_keys'],
  ...['_processor_class', '_name_or_path'],
]);

/** What a preprocessor configuration comes to. */
export interface Preprocessing {
  readonly spec: PreprocessSpec;
  readonly channels: 'rgb' | 'bgr';
}

/**
 * Turns the contents of `preprocessor_config.json` into a plain record.
 *
 * @param config The parsed file.
 * @param where Its path, for messages.
 * @throws ModelConfigError When a field can't be; ModelUnsupportedError when it asks for a step that is not known.
 */
export function readPreprocessorConfig(config: Readonly<Record<string, unknown>>, where: string): Preprocessing {
  const read = new ConfigReader(config, where);
  const type = read.text('image_processor_type') ?? read.text('feature_extractor_type') ?? '';
  const family = type.replace(/(ImageProcessor|FeatureExtractor|Processor)(Fast|Pil)?$/, '');
  const known = PROCESSORS.get(family);
  requireUnderstood(config, known !== undefined, where);
  const defaults = known ?? generic(config, type, where);
  if (config.do_pad === true) throw new ModelUnsupportedError(`Cannot read ${where}: do_pad is not supported`);

  const flip = config.do_flip_channel_order ?? defaults.flip ?? false;
  const normalize = config.do_normalize ?? defaults.normalize ?? true;
  const rescale = config.do_rescale ?? true;
  const resampleNumber = read.number('resample') ?? defaults.resample;
  const resample = RESAMPLES[resampleNumber];
  if (resample === undefined) {
    throw new ModelUnsupportedError(`Cannot read ${where}: resample must be 0, 1, 2 or 3, received ${resampleNumber}`);
  }
  const { resize, crop } = geometry(read, config, defaults);
  const output = crop ?? (resize !== undefined && 'width' in resize ? resize : undefined);
  if (output === undefined) {
    throw new ModelUnsupportedError(
      `Cannot read ${where}: it neither crops nor resizes to one size, so images differ in size`,
    );
  }
  const mean = normalize === false ? ([0, 0, 0] as const) : (read.triple('image_mean') ?? defaults.mean);
  const std = normalize === false ? ([1, 1, 1] as const) : (read.triple('image_std') ?? defaults.std);
  // The images are decoded as RGB and the planes swapped afterwards, so that what is said of BGR planes is turned round here.
  const ordered = (triple: Triple): Triple => (flip === true ? [triple[2], triple[1], triple[0]] : triple);
  return {
    spec: {
      resize,
      resample,
      crop,
      rescale: rescale === false ? 1 : (read.number('rescale_factor') ?? 1 / 255),
      mean: ordered(mean),
      std: ordered(std),
      output: { width: output.width, height: output.height },
      layout: 'chw',
      dtype: 'float32',
    },
    channels: flip === true ? 'bgr' : 'rgb',
  };
}

interface Geometry {
  readonly resize: PreprocessSpec['resize'];
  readonly crop: PreprocessSpec['crop'];
}

function geometry(read: ConfigReader, config: Readonly<Record<string, unknown>>, defaults: Defaults): Geometry {
  const shortestByDefault = 'shortestEdge' in defaults.size;
  const size = read.size('size', shortestByDefault) ?? defaults.size;
  const doResize = config.do_resize !== false;
  if (defaults.cropShare === true) {
    if (!doResize) return { resize: undefined, crop: undefined };
    const side = 'shortestEdge' in size ? size.shortestEdge : size.width;
    if (side >= 384) return { resize: square(side), crop: undefined };
    const share = read.number('crop_pct') ?? 224 / 256;
    return { resize: { shortestEdge: Math.floor(side / share) }, crop: square(side) };
  }
  const cropByDefault = defaults.crop !== undefined;
  const doCrop = (config.do_center_crop ?? cropByDefault) === true;
  const cropSize = read.size('crop_size', false);
  const crop = cropSize !== undefined && 'width' in cropSize ? cropSize : square(defaults.crop ?? 224);
  return { resize: doResize ? size : undefined, crop: doCrop ? crop : undefined };
}

/**
 * Refuses what would be done to an image and is not read here: it would be left out unseen. A class that is known passes over keys that it has no
 * use for; of another every key has to be understood.
 */
function requireUnderstood(config: Readonly<Record<string, unknown>>, isKnownClass: boolean, where: string): void {
  for (const [key, value] of Object.entries(config)) {
    if (STEPS.has(key) || WITHOUT_EFFECT.has(key) || value === null || value === false) continue;
    if (isKnownClass && !(key.startsWith('do_') && value === true)) continue;
    throw new ModelUnsupportedError(
      `Cannot read ${where}: ${key} is not supported, received ${JSON.stringify(value)?.slice(0, 100)}`,
    );
  }
  const { size } = config;
  if (!isKnownClass && (typeof size === 'number' || Array.isArray(size))) {
    throw new ModelUnsupportedError(
      `Cannot read ${where}: size must be { shortest_edge } or { height, width } for a class that is not known, received ${JSON.stringify(size)}`,
    );
  }
}

/** A class that is not known is read only where it spells out what the others leave to their defaults. */
function generic(config: Readonly<Record<string, unknown>>, type: string, where: string): Defaults {
  const missing = ['size', 'resample'].filter((name) => config[name] === undefined);
  if (config.do_normalize !== false) {
    missing.push(...['image_mean', 'image_std'].filter((name) => config[name] === undefined));
  }
  if (missing.length > 0) {
    const known = [...PROCESSORS.keys()].join(', ');
    throw new ModelUnsupportedError(
      `Cannot read ${where}: image_processor_type must be one of ${known} (with ImageProcessor), or all steps be spelt out, received '${type}' without ${missing.join(', ')}`,
    );
  }
  return { size: square(224), resample: 3, crop: undefined, mean: HALF, std: HALF };
}

/** Reads typed fields, with the file's name in every complaint. */
class ConfigReader {
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #where: string;

  constructor(config: Readonly<Record<string, unknown>>, where: string) {
    this.#config = config;
    this.#where = where;
  }

  text(name: string): string | undefined {
    const value = this.#config[name];
    return typeof value === 'string' ? value : undefined;
  }

  number(name: string): number | undefined {
    const value = this.#config[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw this.#wrong(name, 'a number', value);
    return value;
  }

  triple(name: string): Triple | undefined {
    const value = this.#config[name];
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value) || value.length !== 3 || !value.every((each) => Number.isFinite(each))) {
      throw this.#wrong(name, 'three numbers', value);
    }
    if (name === 'image_std' && value.includes(0)) throw this.#wrong(name, 'three numbers other than 0', value);
    return [value[0] as number, value[1] as number, value[2] as number];
  }

  /** A number, `{ shortest_edge }` or `{ height, width }`. */
  size(name: string, numberIsShortest: boolean): ResizeShortestEdge | ResizeExactly | undefined {
    const value = this.#config[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number') {
      const side = this.#pixels(name, value);
      return numberIsShortest ? { shortestEdge: side } : square(side);
    }
    const record = value as Record<string, unknown>;
    if (typeof value === 'object' && record.longest_edge !== undefined && record.longest_edge !== null) {
      throw new ModelUnsupportedError(`Cannot read ${this.#where}: ${name}.longest_edge is not supported`);
    }
    if (typeof value === 'object' && record.shortest_edge !== undefined && record.shortest_edge !== null) {
      return { shortestEdge: this.#pixels(name, record.shortest_edge) };
    }
    if (typeof value === 'object' && record.width !== undefined && record.width !== null) {
      return { width: this.#pixels(name, record.width), height: this.#pixels(name, record.height) };
    }
    throw this.#wrong(name, 'a number, { shortest_edge } or { height, width }', value);
  }

  #pixels(name: string, value: unknown): number {
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > 16_384) {
      throw this.#wrong(name, 'a number of pixels from 1 to 16384', value);
    }
    return value as number;
  }

  #wrong(name: string, expected: string, value: unknown): ModelConfigError {
    return new ModelConfigError(
      `Cannot read ${this.#where}: ${name} must be ${expected}, received ${JSON.stringify(value)}`,
    );
  }
}
