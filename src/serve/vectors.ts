/** The forms in which a vector is answered: numbers or base64, floats or fewer bits. */
import { floatsToBase64 } from './http/base64.js';
import { Refusal } from './http/refusal.js';

/** What a value of a vector becomes. */
export type VectorType = 'float' | 'int8' | 'uint8' | 'binary' | 'ubinary';

/** How a vector is answered. */
export interface VectorForm {
  readonly type: VectorType;
  /** Whether its bytes are answered as base64, instead of a list of numbers. */
  readonly isBase64: boolean;
}

/** A vector of length 1 has its values within this many standard deviations, save for rare ones, which are cut. */
const INT8_RANGE = 8;

/**
 * What a value is multiplied by before it is rounded to int8. Fixed for a dimension, so that vectors can be compared with each other: a scale taken
 * from each vector's own largest value could not.
 */
export function int8Scale(dimension: number): number {
  return (127 * Math.sqrt(dimension)) / INT8_RANGE;
}

/** A vector in a form. */
export function formVector(vector: Float32Array, { type, isBase64 }: VectorForm): number[] | string {
  if (type === 'float') return isBase64 ? floatsToBase64(vector) : Array.from(vector);
  const bytes = type === 'int8' || type === 'uint8' ? quantize(vector, type) : packBits(vector, type);
  return isBase64
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
    : Array.from(bytes);
}

function quantize(vector: Float32Array, type: 'int8' | 'uint8'): Int8Array | Uint8Array {
  const scale = int8Scale(vector.length);
  const values = Int8Array.from(vector, (value) => Math.max(-128, Math.min(127, Math.round(value * scale))));
  return type === 'int8' ? values : Uint8Array.from(values, (value) => value + 128);
}

/** A bit for each value above 0 (not: at least 0, which would set every bit of a vector out of a ReLU), the first one high. */
function packBits(vector: Float32Array, type: 'binary' | 'ubinary'): Int8Array | Uint8Array {
  if (vector.length % 8 !== 0) {
    throw new Refusal('invalid', `A vector of ${vector.length} values has no binary form: they must divide by 8`, {
      code: 'dimension_unsupported',
    });
  }
  const packed = new Uint8Array(vector.length / 8);
  for (const [index, value] of vector.entries()) {
    if (value > 0) packed[index >> 3] = (packed[index >> 3] as number) | (0x80 >> (index & 7));
  }
  return type === 'ubinary' ? packed : Int8Array.from(packed, (value) => value - 128);
}
