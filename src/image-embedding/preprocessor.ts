/** An image's way from encoded bytes to what a model takes in. */
import { requireOneOf } from '../core/index.js';
import { DecodeDeadline } from './decode/decode-deadline.js';
import { type DecodeLimits, decodePixels, readHeader } from './decode/decode-image.js';
import { type Geometry, planGeometry } from './decode/geometry.js';
import { PixelBuffers } from './decode/pixel-buffers.js';
import type { PixelGarbage } from './decode/pixel-garbage.js';
import { planSteps, scaleExactly, scaleInSteps } from './decode/scale.js';
import { loadSharp } from './decode/sharp-loader.js';
import { ImageUnsupportedError } from './image-errors.js';
import { loadKernels } from './kernels/kernels.js';
import type { PreprocessSpec } from './preprocess-spec.js';
import { defaultImageLimits } from './sources/limits.js';

/**
 * How closely the resampling follows Pillow's, which models were trained with: `'exact'` repeats its arithmetic to the bit, for every image.
 * `'fast'` does so, too, unless an image is six times too large or more: that one is scaled by libvips first, and stays within a few 1/255.
 */
export type PreprocessMode = 'fast' | 'exact';

/** What a preprocessor can be given beside its spec. */
export interface PreprocessorOptions {
  /** Pixel cap and timeout. */
  readonly limits?: DecodeLimits | undefined;
  /**
   * Closes every loader of libvips but those for JPEG, PNG, WebP, GIF, AVIF and TIFF from memory, for the whole process. True by default; false
   * where the process also belongs to others, in the inline host.
   */
  readonly restrictLoaders?: boolean | undefined;
  /** Is told of decoded pixels once they are scaled. */
  readonly garbage?: Pick<PixelGarbage, 'add'> | undefined;
}

/** Turns encoded images into pixels of the model's size. Holds no image between calls; calls may overlap. */
export interface Preprocessor {
  /**
   * Decodes one image and prepares it for the model.
   *
   * **Cancel safety:** cancel safe. Decoding that has begun goes on in libvips to its end, and its result is dropped.
   *
   * @param bytes A JPEG, PNG, WebP, GIF, AVIF or TIFF file.
   * @param options A signal, and what is told once sharp has the image: from then on it is decoded without any JavaScript.
   * @returns RGB bytes, `[height, width, 3]`. Rescaling and normalising come last, with the batch: a byte is a quarter of a float.
   * @throws {@link ImageUnsupportedError}, {@link ImageCorruptError}, {@link ImageTooLargeError}, {@link ImageTimeoutError}.
   */
  decode(
    bytes: Uint8Array,
    options?: { readonly signal?: AbortSignal | undefined; readonly onHandedOver?: (() => void) | undefined },
  ): Promise<Uint8Array>;
  /**
   * Gives back pixels that are no longer in use, once each: a later image is written over them.
   *
   * @param pixels What `decode` answered.
   */
  recycle(pixels: Uint8Array): void;
}

/**
 * Makes the preprocessor of a model.
 *
 * The order of work is: first frame, EXIF orientation, to sRGB, transparency over white, resize, centre crop.
 *
 * @param spec What the model's authors did.
 * @param mode How closely the resampling follows theirs.
 * @param options Limits.
 * @returns The preprocessor. sharp is loaded by the first image.
 * @throws TypeError or RangeError when the mode is unknown.
 */
export function createPreprocessor(
  spec: PreprocessSpec,
  mode: PreprocessMode = 'fast',
  options: PreprocessorOptions = {},
): Preprocessor {
  requireOneOf('Cannot create preprocessor', 'mode', mode, ['fast', 'exact']);
  const limits = options.limits ?? defaultImageLimits;
  const restrict = options.restrictLoaders ?? true;
  const buffers = new PixelBuffers();

  return {
    async decode(bytes, { signal, onHandedOver } = {}): Promise<Uint8Array> {
      const deadline = new DecodeDeadline(limits.decodeTimeoutMs, signal);
      try {
        const sharp = await deadline.race(loadSharp(restrict));
        await deadline.race(loadKernels());
        const header = await deadline.race(readHeader(sharp, bytes, limits));
        const geometry = planGeometry(spec, header);
        requireFit(spec, geometry);
        const [first, ...others] = mode === 'fast' ? planSteps(header, geometry, spec.resample) : [];
        const decoding = deadline.race(decodePixels(sharp, bytes, header, limits, first));
        onHandedOver?.();
        let pixels = await decoding;
        if (others.length > 0) pixels = await deadline.race(scaleInSteps(sharp, pixels, others));
        const scaled = await deadline.race(scaleExactly(pixels, spec.resample, geometry, buffers, deadline.signal));
        options.garbage?.add(pixels.data.length);
        return scaled;
      } finally {
        deadline.end();
      }
    },
    recycle: (pixels) => buffers.giveBack(pixels),
  };
}

function requireFit(spec: PreprocessSpec, { output }: Geometry): void {
  if (output.width === spec.output.width && output.height === spec.output.height) return;
  throw new ImageUnsupportedError(
    `Cannot decode image: the model takes ${spec.output.width} × ${spec.output.height} pixels, this image gives ${output.width} × ${output.height}`,
  );
}
