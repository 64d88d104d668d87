/** Where the pixels of the result come from: sizes and offsets, rounded as torchvision rounds them. */
import type { PreprocessSpec } from '../preprocess-spec.js';

/** A size in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A rectangle of pixels. */
export interface Region extends Size {
  readonly left: number;
  readonly top: number;
}

/** What to do with an image of a certain size. */
export interface Geometry {
  /** The size that the whole image is scaled to. */
  readonly resized: Size;
  /** The part of the scaled image that is kept. */
  readonly window: Region;
  /** Where that part lies in the result; around it are zeros. */
  readonly offset: { readonly left: number; readonly top: number };
  /** The size of the result. */
  readonly output: Size;
}

/** Plans the resize and the centre crop of an image of the given size. */
export function planGeometry(spec: Pick<PreprocessSpec, 'resize' | 'crop'>, image: Size): Geometry {
  const resized = resizedSize(spec.resize, image);
  const output = spec.crop ?? resized;
  const horizontal = centre(resized.width, output.width);
  const vertical = centre(resized.height, output.height);
  return {
    resized,
    window: {
      left: horizontal.start,
      top: vertical.start,
      width: horizontal.length,
      height: vertical.length,
    },
    offset: { left: horizontal.offset, top: vertical.offset },
    output: { width: output.width, height: output.height },
  };
}

function resizedSize(resize: PreprocessSpec['resize'], image: Size): Size {
  if (resize === undefined) return image;
  if (!('shortestEdge' in resize)) return { width: resize.width, height: resize.height };
  const { shortestEdge } = resize;
  const { width, height } = image;
  return width <= height
    ? { width: shortestEdge, height: Math.floor((shortestEdge * height) / width) }
    : { width: Math.floor((shortestEdge * width) / height), height: shortestEdge };
}

/** Along one side: what is kept of `have` pixels for a crop to `want`, and where it goes. */
function centre(have: number, want: number): { start: number; length: number; offset: number } {
  if (want >= have) return { start: 0, length: have, offset: Math.floor((want - have) / 2) };
  return { start: roundHalfToEven((have - want) / 2), length: want, offset: 0 };
}

/** Python's `round`. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
