/** Thumbnails of images, for galleries and search results. */
import { types } from 'node:util';
import {
  faultOf,
  fillOptions,
  group,
  type OptionTable,
  option,
  positiveIntegerUpTo,
  requireBoolean,
} from '../../core/index.js';
import { IMAGE_LIMITS, type ImageLimitOptions } from '../sources/limits.js';
import { encodeThumbnail } from './decode-image.js';
import { loadSharp } from './sharp-loader.js';

/** Options of {@link createThumbnail}. */
export interface ThumbnailOptions {
  /** The longer side of the result in pixels. 360 by default; a smaller image is not enlarged. */
  readonly size?: number | undefined;
  /** Limits of the image. */
  readonly limits?: ImageLimitOptions | undefined;
  /**
   * Whether to close every loader of libvips except JPEG, PNG, WebP, GIF, AVIF and TIFF from memory, to turn its cache off and to use one thread. It
   * applies to the whole process and can't be undone. False by default; set it in a process that uses sharp for nothing else.
   */
  readonly restrictLoaders?: boolean | undefined;
}

const THUMBNAIL_OPTIONS = {
  size: option(positiveIntegerUpTo(4_096), 360),
  limits: group(IMAGE_LIMITS),
  restrictLoaders: option(requireBoolean, false),
} satisfies OptionTable<ThumbnailOptions>;

/**
 * Makes a small JPEG of an encoded image. It decodes in the calling process with sharp's settings there. For untrusted images, call it in a
 * worker with `restrictLoaders`.
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
  const { size, limits, restrictLoaders } = fillOptions(action, options, THUMBNAIL_OPTIONS);
  return await encodeThumbnail(await loadSharp(restrictLoaders), bytes, size, limits);
}
