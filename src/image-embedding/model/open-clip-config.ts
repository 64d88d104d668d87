/** Reads `preprocess_cfg.json` as open_clip writes it: the preprocessing of a model in Immich's layout, `visual/` and `textual/`. */

import { ModelConfigError, ModelUnsupportedError } from './model-errors.js';
import type { PreprocessSpec, Resample } from './model-spec.js';
import type { Preprocessing } from './preprocessor-config.js';

/** Where a folder has the preprocessing of `visual/model.onnx`. */
export const openClipPreprocessing = 'visual/preprocess_cfg.json';

const RESAMPLES: readonly Resample[] = ['nearest', 'bilinear', 'bicubic', 'lanczos'];
const MAX_SIDE = 16_384;

/**
 * Turns the contents of `preprocess_cfg.json` into a plain record.
 *
 * @param config The parsed file.
 * @param where Its path, for messages.
 * @throws ModelConfigError When a field can't be; ModelUnsupportedError when it asks for a step that is not known.
 */
export function readOpenClipConfig(config: Readonly<Record<string, unknown>>, where: string): Preprocessing {
  const unsupported = (name: string, expected: string, found: unknown): Error =>
    new ModelUnsupportedError(`Cannot read ${where}: ${name} must be ${expected}, received ${JSON.stringify(found)}`);
  const { mode = 'RGB', interpolation = 'bicubic', resize_mode: fit = 'shortest' } = config;
  if (mode !== 'RGB') throw unsupported('mode', 'RGB', mode);
  const resample = RESAMPLES.find((each) => each === String(interpolation).toLowerCase());
  if (resample === undefined) throw unsupported('interpolation', RESAMPLES.join(', '), interpolation);
  if (fit !== 'shortest' && fit !== 'squash') throw unsupported('resize_mode', 'shortest or squash', fit);
  const size = sizeOf(config.size, where);
  const isSquashed = fit === 'squash';
  const spec: PreprocessSpec = {
    resize: isSquashed ? size : { shortestEdge: Math.min(size.width, size.height) },
    resample,
    crop: isSquashed ? undefined : size,
    rescale: 1 / 255,
    mean: tripleOf(config.mean, 'mean', where),
    std: tripleOf(config.std, 'std', where),
    output: size,
    layout: 'chw',
    dtype: 'float32',
  };
  return { spec, channels: 'rgb' };
}

/** A number, or height and width. */
function sizeOf(value: unknown, where: string): { readonly width: number; readonly height: number } {
  const [height, width = height, ...more] = Array.isArray(value) ? (value as unknown[]) : [value];
  const isSide = (side: unknown): side is number =>
    Number.isSafeInteger(side) && (side as number) > 0 && (side as number) <= MAX_SIDE;
  if (!isSide(height) || !isSide(width) || more.length > 0) {
    throw new ModelConfigError(
      `Cannot read ${where}: size must be a number of pixels or two, received ${JSON.stringify(value)}`,
    );
  }
  return { width, height };
}

function tripleOf(value: unknown, name: 'mean' | 'std', where: string): readonly [number, number, number] {
  const isSound = Array.isArray(value) && value.length === 3 && value.every((each) => Number.isFinite(each));
  if (!isSound || (name === 'std' && value.includes(0))) {
    throw new ModelConfigError(
      `Cannot read ${where}: ${name} must be three numbers, received ${JSON.stringify(value)}`,
    );
  }
  return value as unknown as readonly [number, number, number];
}
