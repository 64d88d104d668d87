/**
 * What a model's authors did to an image before it went in, in one plain record: it crosses process boundaries as it is. Made from
 * `preprocessor_config.json` by the model folder reader, or by hand through `createModelSpec`.
 */

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
