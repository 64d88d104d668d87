/** The one file that imports sharp, when the first image comes. */
import type { ResizeOptions, Sharp, SharpOptions } from 'sharp';
import { MissingDependencyError } from '../image-errors.js';

export type { ResizeOptions, Sharp, SharpOptions };

/** What is used of sharp. */
export interface SharpModule {
  (input: Uint8Array, options?: SharpOptions): Sharp;
  block(options: { operation: string[] }): void;
  unblock(options: { operation: string[] }): void;
  cache(options: boolean): unknown;
  concurrency(threads: number): unknown;
}

/** The loaders that stay open: from memory, for the formats that are decoded. */
const LOADERS: readonly string[] = [
  'VipsForeignLoadJpegBuffer',
  'VipsForeignLoadPngBuffer',
  'VipsForeignLoadWebpBuffer',
  'VipsForeignLoadNsgifBuffer',
  'VipsForeignLoadHeifBuffer',
  'VipsForeignLoadTiffBuffer',
];

let loading: Promise<SharpModule> | undefined;
let restricted = false;

/**
 * Loads sharp, once.
 *
 * @param restrict Closes every other loader of libvips (SVG, PDF, files, ...) for this process, and has libvips work on an image with one thread. Off
 *   where the process is not ours alone.
 * @throws {@link MissingDependencyError} when the package is not installed.
 */
export async function loadSharp(restrict: boolean): Promise<SharpModule> {
  loading ??= import('sharp').then(
    (module) => module.default as unknown as SharpModule,
    (cause: unknown) => {
      loading = undefined;
      throw MissingDependencyError.create('sharp', 'decode image', { cause });
    },
  );
  const sharp = await loading;
  if (restrict && !restricted) {
    restricted = true;
    sharp.block({ operation: ['VipsForeignLoad'] });
    sharp.unblock({ operation: [...LOADERS] });
    // Every image is another one: a cache of operations would hold memory and never be hit.
    sharp.cache(false);
    // As sharp has it with glibc, unless it sees that somebody chose the number of malloc's arenas. Images keep the cores busy, not parts of one.
    if (process.env.VIPS_CONCURRENCY === undefined) sharp.concurrency(1);
  }
  return sharp;
}
