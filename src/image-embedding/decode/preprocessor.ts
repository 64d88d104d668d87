/** An image's way from encoded bytes to what a model takes in. */

import { setFlagsFromString } from 'node:v8';
import { type AbortListener, addAbortListener, removeAbortListener, requireOneOf } from '../../core/index.js';
import { ImageTimeoutError, ImageUnsupportedError } from '../image-errors.js';
import { loadKernels } from '../kernels/kernels.js';
import type { PreprocessSpec } from '../model/model-spec.js';
import { defaultImageLimits } from '../sources/limits.js';
import { type DecodeLimits, decodePixels, readHeader } from './decode-image.js';
import { type Geometry, planGeometry, planSteps, scaleExactly, scaleInSteps } from './scale.js';
import { loadSharp } from './sharp-loader.js';

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

/**
 * The end of the time that one image may take, and of the caller's patience. libvips is asked to stop too, but some decoders (AVIF's) do the
 * whole image in one call that nothing interrupts: the caller is answered on time all the same, and the late result is dropped.
 */
export class DecodeDeadline {
  readonly #ended: Promise<never>;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #controller = new AbortController();
  #reject!: (reason: unknown) => void;
  readonly #listener: AbortListener = { onAbort: (reason) => this.#end(reason) };

  constructor(timeoutMs: number, signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#signal = signal;
    this.#ended = new Promise((_resolve, reject) => {
      this.#reject = reject;
    });
    // It may end while no decode races against it.
    this.#ended.catch(() => {});
    if (signal !== undefined) addAbortListener(signal, this.#listener);
    this.#timer = setTimeout(
      () => this.#end(new ImageTimeoutError(`Cannot decode image: it took longer than ${timeoutMs} ms`)),
      Math.min(timeoutMs, 2 ** 31 - 1),
    );
  }

  /** Aborts when the time is up or the caller's signal aborts. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Settles as the promise does, or rejects when the time is up or the signal aborts. */
  race<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#ended]);
  }

  #end(reason: unknown): void {
    this.#reject(reason);
    this.#controller.abort(reason);
  }

  /** Stops the timer and leaves the signal alone. */
  end(): void {
    clearTimeout(this.#timer);
    if (this.#signal !== undefined) removeAbortListener(this.#signal, this.#listener);
  }
}

/** Memory for scaled pictures, all of one size: a model's. */
export class PixelBuffers {
  readonly #keep: number;
  readonly #free: Uint8Array[] = [];

  /**
   * @param keep How many are kept for a later picture. While pictures wait for their batch V8 takes their memory for old, and gives it back much
   *   later than it could.
   */
  constructor(keep = 16) {
    this.#keep = keep;
  }

  /** Memory of so many bytes, with whatever an earlier picture left there. */
  take(length: number): Uint8Array {
    const found = this.#free.pop();
    return found?.length === length ? found : new Uint8Array(length);
  }

  /** Takes back memory that is no longer in use, once. */
  giveBack(pixels: Uint8Array): void {
    if (this.#free.length < this.#keep) this.#free.push(pixels);
  }
}

/** Bytes of dead pixels that are worth a collection of young objects, which takes a fraction of a millisecond. */
const ENOUGH = 3_000_000;

type Collect = (options: { readonly type: 'minor' }) => void;

/** Counts pixels that have had their day. */
export class PixelGarbage {
  readonly #collect: Collect;
  #bytes = 0;

  private constructor(collect: Collect) {
    this.#collect = collect;
  }

  /**
   * Has the heap of this process grow no more than it does by itself, and its young objects collected as often as it takes.
   *
   * @returns Undefined in a process that was started without `--expose-gc`.
   */
  static start(): PixelGarbage | undefined {
    const { gc } = globalThis as { readonly gc?: Collect };
    if (gc === undefined) return undefined;
    setFlagsFromString('--heap-growing-percent=0');
    return new PixelGarbage(gc);
  }

  /** Counts pixels that are no longer in use. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < ENOUGH) return;
    this.#bytes = 0;
    this.#collect({ type: 'minor' });
  }
}
