/** Small pictures of images, for pages that show what was embedded. */

import { types } from 'node:util';
import { faultOf, requireBoolean, requireOptions, requirePositiveInteger } from '../../core/index.js';
import { type ImageLimitOptions, resolveImageLimits } from '../sources/limits.js';
import { encodeThumbnail } from './decode-image.js';
import { loadSharp } from './sharp-loader.js';

/** Options of {@link createThumbnail}. */
export interface ThumbnailOptions {
  /** The longer side of the result in pixels. 360 by default; a smaller image is not enlarged. */
  readonly size?: number | undefined;
  /** What the image may be at most. */
  readonly limits?: ImageLimitOptions | undefined;
  /**
   * Closes every loader of libvips but those for JPEG, PNG, WebP, GIF, AVIF and TIFF from memory, turns its cache off and has it work with one
   * thread: for the whole process, and for good. False by default; true is for a process of one's own that does nothing else with sharp.
   */
  readonly restrictLoaders?: boolean | undefined;
}

/**
 * Makes a small JPEG of an encoded image. It decodes in the process that calls it, and leaves what sharp is set to there alone: for images that are
 * not trusted, call it in a worker, with `restrictLoaders`.
 *
 * **Cancel safety:** not applicable; it takes no signal.
 *
 * @param bytes A JPEG, PNG, WebP, GIF, AVIF or TIFF image.
 * @param options Size and limits.
 * @returns The bytes of a JPEG, upright, in sRGB, transparency over white.
 * @throws {@link ImageUnsupportedError}, {@link ImageCorruptError}, {@link ImageTooLargeError} or {@link ImageTimeoutError}.
 * @throws TypeError When `bytes` is no `Uint8Array`.
 */
export async function createThumbnail(bytes: Uint8Array, options?: ThumbnailOptions): Promise<Uint8Array> {
  const action = 'Cannot create thumbnail';
  if (!types.isUint8Array(bytes)) throw faultOf(action, 'bytes', 'a Uint8Array', bytes);
  const given = requireOptions<ThumbnailOptions>(action, options, ['size', 'limits', 'restrictLoaders']);
  const size = requirePositiveInteger(action, 'size', given.size ?? 360, 4_096);
  const limits = resolveImageLimits(given.limits, action);
  const sharp = await loadSharp(requireBoolean(action, 'restrictLoaders', given.restrictLoaders ?? false));
  return await encodeThumbnail(sharp, bytes, size, limits);
}
