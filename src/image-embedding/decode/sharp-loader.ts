/**
 * The only file that imports sharp, on first use. The used part of its types is declared here, so that users without the package can compile.
 */
import { createRequire } from 'node:module';
import { MissingDependencyError } from '../image-errors.js';

/** Input options of sharp. */
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

/** Resize options of sharp. */
export interface ResizeOptions {
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  readonly fit?: 'fill' | 'inside' | undefined;
  readonly kernel?: 'cubic' | undefined;
  readonly fastShrinkOnLoad?: boolean | undefined;
  readonly withoutEnlargement?: boolean | undefined;
}

/** The metadata that sharp reads from a header. */
export interface SharpMetadata {
  readonly format: string;
  readonly icc?: Uint8Array | undefined;
  readonly hasAlpha: boolean;
  readonly autoOrient: { readonly width: number; readonly height: number };
}

/** A sharp pipeline. */
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

/** The loaders that stay enabled: from memory, for the supported formats. */
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
 * @param restrict Blocks every other loader of libvips (SVG, PDF, files, ...) in this process and limits libvips to one thread for each image. False when
 *   the process is shared with other users of sharp.
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
    // Images rarely repeat: an operation cache would only hold memory.
    sharp.cache(false);
    // Parallel images use the cores, not parts of one image. With glibc this is sharp's own default.
    if (process.env.VIPS_CONCURRENCY === undefined) sharp.concurrency(1);
  }
  return sharp;
}

/**
 * Imports sharp and restores the process's settings of libvips: each copy of sharp sets its defaults when it loads, and another copy may already be
 * in use, as CommonJS or in another thread.
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

/** The used part of sharp's native module, of which a process has one. */
interface NativeSharp {
  cache(memory?: number, files?: number, items?: number): CacheSettings;
  concurrency(threads: number | null): number;
}

/** Whether these are libvips's own defaults, so that no copy of sharp was loaded before. */
function isUntouched({ memory, files }: CacheSettings): boolean {
  return memory.max === 100 && files.max === 100;
}

/** sharp's native module; undefined when it can't be resolved, as for a build from source. */
function findNative(): NativeSharp | undefined {
  try {
    const require = createRequire(import.meta.resolve('sharp'));
    for (const system of [process.platform, `${process.platform}musl`]) {
      const name = `@img/sharp-${system}-${process.arch}/sharp.node`;
      try {
        return require(name) as NativeSharp;
      } catch {
        // For another system, or not installed.
      }
    }
  } catch {
    // sharp is missing, which its import reports, or the module loader can't resolve it.
  }
  return undefined;
}
