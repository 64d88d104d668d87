import type { PreprocessSpec } from '../../src/image-embedding/model/model-spec.js';

/** CLIP's steps to a square of so many pixels, colours as they are; `changes` replace what a test is about. */
export function squareSpec(side: number, changes: Partial<PreprocessSpec> = {}): PreprocessSpec {
  return {
    resize: { shortestEdge: side },
    resample: 'bicubic',
    crop: { width: side, height: side },
    rescale: 1 / 255,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    output: { width: side, height: side },
    layout: 'chw',
    dtype: 'float32',
    ...changes,
  };
}
