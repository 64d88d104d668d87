/** Half precision (IEEE 754 binary16) to and from float32, for models that take or give it: JavaScript has no such array on every Node. */
import { Kernels } from '../kernels/kernels.js';
import { ModelMismatchError } from '../model/model-errors.js';
import type { ModelSpec } from '../model/model-spec.js';
import type { SessionInput } from './session.js';

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The nearest half to a number, ties to even, as its 16 bits. */
export function toFloat16(value: number): number {
  float[0] = value;
  const word = bits[0] as number;
  const sign = (word >>> 16) & 0x8000;
  const exponent = (word >>> 23) & 0xff;
  const fraction = word & 0x7fffff;
  if (exponent === 0xff) return sign | 0x7c00 | (fraction === 0 ? 0 : 0x200);
  const half = exponent - 112;
  if (half >= 31) return sign | 0x7c00;
  if (half <= 0) {
    if (half < -10) return sign;
    // A subnormal half: the hidden bit comes in, then everything moves right by what the exponent lacks.
    const full = fraction | 0x800000;
    const shift = 14 - half;
    return sign | roundShift(full, shift);
  }
  // A carry out of the fraction goes into the exponent, as it should.
  return sign | ((half << 10) + roundShift(fraction, 13));
}

function roundShift(value: number, shift: number): number {
  const kept = value >>> shift;
  const rest = value & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return rest > middle || (rest === middle && (kept & 1) === 1) ? kept + 1 : kept;
}

let table: Float32Array | undefined;

/** Every half as a float32: 256 KB, made when first asked for. */
function halves(): Float32Array {
  if (table !== undefined) return table;
  table = new Float32Array(65_536);
  for (let half = 0; half < 65_536; half += 1) {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >>> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) table[half] = sign * fraction * 2 ** -24;
    else if (exponent === 31) table[half] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else table[half] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return table;
}

/** Widens halves. */
export function fromFloat16(source: Uint16Array): Float32Array {
  const known = halves();
  const target = new Float32Array(source.length);
  for (let index = 0; index < source.length; index += 1) target[index] = known[source[index] as number] as number;
  return target;
}

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
