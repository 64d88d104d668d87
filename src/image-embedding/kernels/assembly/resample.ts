/**
 * Pillow's two passes over 8-bit pixels. Its weights have 22 fractional bits, too many for a multiplication of 16 bits, so each is taken apart,
 * `weight = high * 4096 + low`; both parts are multiplied and summed for two pixels in one instruction, and together give the very same sum.
 */

/** Bits of a weight's lower part. */
const LOW_BITS: i32 = 12;
const PRECISION_BITS: i32 = 22;

/**
 * Scales rows, two at a time: an odd one more reads and writes a row beyond the last.
 *
 * @param source RGB bytes; 4 pixels beyond the last are read, too, and count nothing.
 * @param starts For each pixel of the result, at which byte of the row its pixels begin.
 * @param weights For each pixel of the result `groups` times the weights of 4 pixels: their 4 upper parts, then their 4 lower ones.
 * @param target Gets `width` pixels for each row, and a byte beyond them.
 */
export function scaleRows(
  source: usize,
  sourceStride: usize,
  rows: i32,
  starts: usize,
  weights: usize,
  groups: i32,
  width: i32,
  target: usize,
  targetStride: usize,
): void {
  // Of 4 pixels, side by side as words what is summed: red, green and blue of the first two, and of the other two.
  const front = i8x16(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  const back = i8x16(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const half = i32x4.splat(1 << (PRECISION_BITS - 1));
  for (let row = 0; row < rows; row += 2) {
    let weight = weights;
    for (let column = 0; column < width; column++) {
      let upper = source + <usize>load<u32>(starts + ((<usize>column) << 2));
      let lower = upper + sourceStride;
      let upperHigh = i32x4.splat(0);
      let lowerHigh = i32x4.splat(0);
      let upperLow = half;
      let lowerLow = half;
      for (let group = 0; group < groups; group++) {
        const frontHigh = v128.load_splat<u32>(weight);
        const backHigh = v128.load_splat<u32>(weight, 4);
        const frontLow = v128.load_splat<u32>(weight, 8);
        const backLow = v128.load_splat<u32>(weight, 12);
        let four = v128.load(upper);
        let pair = i8x16.swizzle(four, front);
        upperHigh = i32x4.add(upperHigh, i32x4.dot_i16x8_s(pair, frontHigh));
        upperLow = i32x4.add(upperLow, i32x4.dot_i16x8_s(pair, frontLow));
        pair = i8x16.swizzle(four, back);
        upperHigh = i32x4.add(upperHigh, i32x4.dot_i16x8_s(pair, backHigh));
        upperLow = i32x4.add(upperLow, i32x4.dot_i16x8_s(pair, backLow));
        four = v128.load(lower);
        pair = i8x16.swizzle(four, front);
        lowerHigh = i32x4.add(lowerHigh, i32x4.dot_i16x8_s(pair, frontHigh));
        lowerLow = i32x4.add(lowerLow, i32x4.dot_i16x8_s(pair, frontLow));
        pair = i8x16.swizzle(four, back);
        lowerHigh = i32x4.add(lowerHigh, i32x4.dot_i16x8_s(pair, backHigh));
        lowerLow = i32x4.add(lowerLow, i32x4.dot_i16x8_s(pair, backLow));
        upper += 12;
        lower += 12;
        weight += 16;
      }
      const words = i16x8.narrow_i32x4_s(toBytes(upperHigh, upperLow), toBytes(lowerHigh, lowerLow));
      const bytes = i8x16.narrow_i16x8_u(words, words);
      const at = target + 3 * <usize>column;
      store<u32>(at, i32x4.extract_lane(bytes, 0));
      store<u32>(at + targetStride, i32x4.extract_lane(bytes, 1));
    }
    source += 2 * sourceStride;
    target += 2 * targetStride;
  }
}

/**
 * Makes one row of the result out of rows on top of each other.
 *
 * @param source The first of the rows; up to 15 bytes beyond each are read.
 * @param pairs How many pairs of rows count.
 * @param weights For each pair the upper parts of its two weights, then the lower ones.
 * @param length Bytes of the row.
 * @param target Gets the row, and up to 15 bytes beyond it.
 */
export function scaleColumns(
  source: usize,
  stride: usize,
  pairs: i32,
  weights: usize,
  length: usize,
  target: usize,
): void {
  const zero = i32x4.splat(0);
  const half = i32x4.splat(1 << (PRECISION_BITS - 1));
  for (let column: usize = 0; column < length; column += 16) {
    let from = source + column;
    let weight = weights;
    let high0 = zero;
    let high1 = zero;
    let high2 = zero;
    let high3 = zero;
    let low0 = half;
    let low1 = half;
    let low2 = half;
    let low3 = half;
    for (let pair = 0; pair < pairs; pair++) {
      const high = v128.load_splat<u32>(weight);
      const low = v128.load_splat<u32>(weight, 4);
      const upper = v128.load(from);
      const lower = v128.load(from + stride);
      const front = v128.shuffle<u8>(upper, lower, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const back = v128.shuffle<u8>(upper, lower, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      let words = i16x8.extend_low_i8x16_u(front);
      high0 = i32x4.add(high0, i32x4.dot_i16x8_s(words, high));
      low0 = i32x4.add(low0, i32x4.dot_i16x8_s(words, low));
      words = i16x8.extend_high_i8x16_u(front);
      high1 = i32x4.add(high1, i32x4.dot_i16x8_s(words, high));
      low1 = i32x4.add(low1, i32x4.dot_i16x8_s(words, low));
      words = i16x8.extend_low_i8x16_u(back);
      high2 = i32x4.add(high2, i32x4.dot_i16x8_s(words, high));
      low2 = i32x4.add(low2, i32x4.dot_i16x8_s(words, low));
      words = i16x8.extend_high_i8x16_u(back);
      high3 = i32x4.add(high3, i32x4.dot_i16x8_s(words, high));
      low3 = i32x4.add(low3, i32x4.dot_i16x8_s(words, low));
      from += 2 * stride;
      weight += 8;
    }
    const front = i16x8.narrow_i32x4_s(toBytes(high0, low0), toBytes(high1, low1));
    const back = i16x8.narrow_i32x4_s(toBytes(high2, low2), toBytes(high3, low3));
    v128.store(target + column, i8x16.narrow_i16x8_u(front, back));
  }
}

/** Joins the sums of both parts, rounded; what is out of range is clipped where it is narrowed. */
function toBytes(high: v128, low: v128): v128 {
  return i32x4.shr_s(i32x4.add(i32x4.shl(high, LOW_BITS), low), PRECISION_BITS);
}
