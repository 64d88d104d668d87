/**
 * The one file that imports sharp, when the first image comes. Its types are written down here as far as they are used: those of the package must
 * not be needed by users who install without it.
 */
import { createRequire } from 'node:module';
import { MissingDependencyError } from '../image-errors.js';

/** How sharp reads its input. */
export interface SharpOptions {
  readonly failOn?: 'none' | 'truncated' | 'error' | 'warning' | undefined;
  readonly limitInputPixels?: number | undefined;
  readonly limitInputChannels?: number | undefined;
  readonly page?: number | undefined;
  readonly pages?: number | undefined;
  readonly autoOrient?: boolean | undefined;
  readonly ignoreIcc?: boolean | undefined;
  readonly raw?: { readonly width: number; readonly height: number; readonly channels: 3 } | undefined;
}

/** How sharp scales. */
export interface ResizeOptions {
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  readonly fit?: 'fill' | 'inside' | undefined;
  readonly kernel?: 'cubic' | undefined;
  readonly fastShrinkOnLoad?: boolean | undefined;
  readonly withoutEnlargement?: boolean | undefined;
}

/** What sharp reads of a header. */
export interface SharpMetadata {
  readonly format: string;
  readonly icc?: Uint8Array | undefined;
  readonly hasAlpha: boolean;
  readonly autoOrient: { readonly width: number; readonly height: number };
}

/** An image on its way through sharp. */
export interface Sharp {
  metadata(): Promise<SharpMetadata>;
  extract(region: { left: number; top: number; width: number; height: number }): Sharp;
  resize(options: ResizeOptions): Sharp;
  resize(width: number, height: number, options: ResizeOptions): Sharp;
  flatten(options: { background: { r: number; g: number; b: number } }): Sharp;
  toColourspace(space: 'srgb'): Sharp;
  timeout(options: { seconds: number }): Sharp;
  jpeg(options: { quality: number }): Sharp;
  raw(options?: { depth: 'uchar' }): Sharp;
  toBuffer(): Promise<Buffer>;
  toBuffer(options: { resolveWithObject: true }): Promise<{
    readonly data: Buffer;
    readonly info: { readonly width: number; readonly height: number; readonly channels: 1 | 2 | 3 | 4 };
  }>;
}

/** The part of sharp that is used. */
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
  loading ??= importSharp().catch((cause: unknown) => {
    loading = undefined;
    throw MissingDependencyError.create('sharp', 'decode image', { cause });
  });
  const sharp = await loading;
  if (restrict && !restricted) {
    restricted = true;
    sharp.block({ operation: ['VipsForeignLoad'] });
    sharp.unblock({ operation: [...LOADERS] });
    // Every image is another one: a cache of operations would hold memory and never be hit.
    sharp.cache(false);
    // sharp's own default with glibc, unless the number of malloc's arenas was set. Parallel images keep the cores busy, not parts of one image.
    if (process.env.VIPS_CONCURRENCY === undefined) sharp.concurrency(1);
  }
  return sharp;
}

/**
 * Imports sharp, and leaves libvips as the process had set it: each copy of sharp sets its own defaults for the whole process when it is loaded,
 * and there may be one already, as CommonJS or in another thread.
 */
async function importSharp(): Promise<SharpModule> {
  const native = findNative();
  const before = native === undefined ? undefined : { cache: native.cache(), concurrency: native.concurrency(null) };
  const sharp = (await import('sharp')).default as unknown as SharpModule;
  if (native === undefined || before === undefined || isUntouched(before.cache)) return sharp;
  native.cache(before.cache.memory.max, before.cache.files.max, before.cache.items.max);
  native.concurrency(before.concurrency);
  return sharp;
}

interface CacheSettings {
  readonly memory: { readonly max: number };
  readonly files: { readonly max: number };
  readonly items: { readonly max: number };
}

/** The part of sharp's native module that is used. A process has one. */
interface NativeSharp {
  cache(memory?: number, files?: number, items?: number): CacheSettings;
  concurrency(threads: number | null): number;
}

/** Whether these are the settings of libvips itself: no copy of sharp has been loaded in this process. */
function isUntouched({ memory, files }: CacheSettings): boolean {
  return memory.max === 100 && files.max === 100;
}

/** Undefined where it can't be found apart from sharp, as where sharp is built from source. */
function findNative(): NativeSharp | undefined {
  try {
    const require = createRequire(import.meta.resolve('sharp'));
    for (const system of [process.platform, `${process.platform}musl`]) {
      const name = `@img/sharp-${system}-${process.arch}/sharp.node`;
      try {
        return require(name) as NativeSharp;
      } catch {
        // Of another system, or not installed.
      }
    }
  } catch {
    // No sharp at all, which its import tells of, or a loader that resolves nothing.
  }
  return undefined;
}
