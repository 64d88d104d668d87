/** Half precision (IEEE 754 binary16) to and from float32, for models that take or give it: JavaScript has no such array on every Node. */

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
