/** What a model takes in, made of pixels: a batch of planes, rescaled and normalised. */
import { Kernels } from '../kernels/kernels.js';
import { ModelMismatchError } from '../model/model-errors.js';
import type { ModelSpec } from '../model/model-spec.js';
import { toFloat16 } from './float16.js';
import type { SessionInput } from './session.js';

const CHANNELS = 3;
const SHADES = 256;

/** Numbers as the model wants them. Half precision is its bits. */
export type TensorNumbers = Float32Array | Uint16Array | Uint8Array;

/** The memory of a model's input, used again by each batch. */
export class TensorInput {
  readonly #kernels = new Kernels();
  readonly #type: SessionInput['type'];
  readonly #isBgr: boolean;
  readonly #pixels: number;
  /** Bytes of a number. */
  readonly #size: number;
  /** The memory holds the tables from its beginning, then an image, then the batch. */
  readonly #image: number;
  readonly #batch: number;

  constructor(
    { type, width, height }: SessionInput,
    { preprocess, channels }: Pick<ModelSpec, 'preprocess' | 'channels'>,
  ) {
    this.#type = type;
    this.#isBgr = channels === 'bgr';
    this.#pixels = width * height;
    const tables = new (arrayType(type))(CHANNELS * SHADES);
    for (let channel = 0; channel < CHANNELS; channel += 1) {
      const mean = preprocess.mean[channel] as number;
      const std = preprocess.std[channel] as number;
      for (let shade = 0; shade < SHADES; shade += 1) {
        const number = (shade * preprocess.rescale - mean) / std;
        tables[channel * SHADES + shade] = type === 'float32' ? number : type === 'float16' ? toFloat16(number) : shade;
      }
    }
    this.#size = tables.BYTES_PER_ELEMENT;
    this.#image = tables.byteLength;
    this.#batch = (this.#image + CHANNELS * this.#pixels + 15) & ~15;
    this.#kernels.grow(this.#batch);
    this.#kernels.bytes.set(new Uint8Array(tables.buffer));
  }

  /**
   * Writes images one after another.
   *
   * @param images RGB bytes, `[height, width, 3]` each.
   * @param rows The size of the batch; what no image is there for is zeros.
   * @returns `[rows, 3, height, width]`, until the next call.
   */
  write(images: readonly Uint8Array[], rows: number): TensorNumbers {
    const plane = this.#pixels * this.#size;
    this.#kernels.grow(this.#batch + rows * CHANNELS * plane);
    const { bytes, run } = this.#kernels;
    const write = this.#size === 4 ? run.writePlanes32 : this.#size === 2 ? run.writePlanes16 : run.writePlanes8;
    for (const [index, image] of images.entries()) {
      if (image.length !== CHANNELS * this.#pixels) {
        throw new ModelMismatchError(
          `Cannot run model: an image must be ${CHANNELS * this.#pixels} bytes, received ${image.length}`,
        );
      }
      bytes.set(image, this.#image);
      const first = this.#batch + index * CHANNELS * plane;
      const last = first + 2 * plane;
      write(this.#image, this.#pixels, 0, this.#isBgr ? last : first, first + plane, this.#isBgr ? first : last);
    }
    // The rest of a fixed batch is blank, not what an earlier batch left there.
    bytes.fill(0, this.#batch + images.length * CHANNELS * plane, this.#batch + rows * CHANNELS * plane);
    return new (arrayType(this.#type))(bytes.buffer, this.#batch, rows * CHANNELS * this.#pixels);
  }
}

function arrayType(
  type: SessionInput['type'],
): Float32ArrayConstructor | Uint16ArrayConstructor | Uint8ArrayConstructor {
  return type === 'float32' ? Float32Array : type === 'float16' ? Uint16Array : Uint8Array;
}
