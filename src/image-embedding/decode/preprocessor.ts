/** Turns the encoded bytes of an image into pixels of the model's input size. */
import { setFlagsFromString } from 'node:v8';
import { type AbortListener, addAbortListener, removeAbortListener, requireOneOf } from '../../core/index.js';
import { ImageTimeoutError, ImageUnsupportedError } from '../image-errors.js';
import { loadKernels } from '../kernels/kernels.js';
import type { PreprocessSpec } from '../model/model-spec.js';
import { resolveImageLimits } from '../sources/limits.js';
import { type DecodeLimits, decodePixels, readHeader } from './decode-image.js';
import { type Geometry, planGeometry, planSteps, scaleExactly, scaleInSteps } from './scale.js';
import { loadSharp } from './sharp-loader.js';

/**
 * How closely resampling follows Pillow's, which models were trained with. `'exact'` is bit-identical for every image. `'fast'` is bit-identical
 * for reductions below 6x; larger images are first scaled by libvips and stay within a few 1/255.
 */
export type PreprocessMode = 'fast' | 'exact';

/** Options of {@link createPreprocessor}. */
export interface PreprocessorOptions {
  /** Pixel cap and timeout. */
  readonly limits?: DecodeLimits | undefined;
  /**
   * Whether libvips may load only JPEG, PNG, WebP, GIF, AVIF and TIFF from memory. It applies to the whole process: true by default, false in
   * the inline host.
   */
  readonly restrictLoaders?: boolean | undefined;
  /** Counts decoded pixels that are no longer needed. */
  readonly garbage?: Pick<PixelGarbage, 'add'> | undefined;
}

/** Decodes images. It keeps no image between calls; calls may overlap. */
export interface Preprocessor {
  /**
   * Decodes one image and prepares it for the model.
   *
   * **Cancel safety:** cancel safe. A decode that has started finishes in libvips, and its result is dropped.
   *
   * @param bytes A JPEG, PNG, WebP, GIF, AVIF or TIFF file.
   * @param options A signal, and a callback for when sharp has the image: the rest of the decode needs no JavaScript.
   * @returns RGB bytes, `[height, width, 3]`. Rescaling and normalising happen when the batch is assembled: bytes take a quarter of the memory of floats.
   * @throws {@link ImageUnsupportedError}, {@link ImageCorruptError}, {@link ImageTooLargeError}, {@link ImageTimeoutError}.
   */
  decode(
    bytes: Uint8Array,
    options?: { readonly signal?: AbortSignal | undefined; readonly onHandedOver?: (() => void) | undefined },
  ): Promise<Uint8Array>;
  /**
   * Returns a pixel buffer for reuse by a later image. Call it at most once for each buffer.
   *
   * @param pixels What `decode` answered.
   */
  recycle(pixels: Uint8Array): void;
}

/**
 * Makes the preprocessor of a model.
 *
 * Steps: first frame, EXIF orientation, conversion to sRGB, transparency over white, resize, centre crop.
 *
 * @param spec The model's preprocessing.
 * @param mode How closely resampling follows Pillow's.
 * @param options See {@link PreprocessorOptions}.
 * @returns The preprocessor. sharp is loaded on the first decode.
 * @throws TypeError or RangeError when the mode is unknown.
 */
export function createPreprocessor(
  spec: PreprocessSpec,
  mode: PreprocessMode = 'fast',
  options: PreprocessorOptions = {},
): Preprocessor {
  requireOneOf('Cannot create preprocessor', 'mode', mode, ['fast', 'exact']);
  const limits = options.limits ?? resolveImageLimits();
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
 * The deadline of one decode, combined with the caller's signal. libvips has a timeout too, but some decoders (AVIF) decode the whole image in one
 * uninterruptible call. The caller is answered on time, and the late result is dropped.
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
    // The deadline may pass while no race is pending.
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

/** A pool of pixel buffers of one size, the model's input. */
export class PixelBuffers {
  readonly #keep: number;
  readonly #free: Uint8Array[] = [];

  /**
   * @param keep How many buffers are kept. Without reuse, buffers that wait for their batch are promoted to V8's old generation and freed late.
   */
  constructor(keep = 16) {
    this.#keep = keep;
  }

  /** A buffer of this length. Its content is undefined. */
  take(length: number): Uint8Array {
    const found = this.#free.pop();
    return found?.length === length ? found : new Uint8Array(length);
  }

  /** Returns a buffer to the pool. */
  giveBack(pixels: Uint8Array): void {
    if (this.#free.length < this.#keep) this.#free.push(pixels);
  }
}

/** Bytes of dead pixels that justify a minor collection, which takes a fraction of a millisecond. */
const ENOUGH = 3_000_000;

type Collect = (options: { readonly type: 'minor' }) => void;

/**
 * Triggers a minor collection after a number of dead pixel bytes. Pixels are external memory, which V8's heuristics underestimate: left alone, it
 * frees them a dozen images later.
 */
export class PixelGarbage {
  readonly #collect: Collect;
  #bytes = 0;

  private constructor(collect: Collect) {
    this.#collect = collect;
  }

  /**
   * Restores V8's default heap growth in this process and starts counting.
   *
   * @returns Undefined in a process that was started without `--expose-gc`.
   */
  static start(): PixelGarbage | undefined {
    const { gc } = globalThis as { readonly gc?: Collect };
    if (gc === undefined) return undefined;
    setFlagsFromString('--heap-growing-percent=0');
    return new PixelGarbage(gc);
  }

  /** Counts the bytes of dead pixels. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < ENOUGH) return;
    this.#bytes = 0;
    this.#collect({ type: 'minor' });
  }
}
