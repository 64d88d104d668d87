/**
 * Inner products of queries with the rows of a matrix. Rows and queries are padded with zeros to whole groups of 16 numbers, so no loop has a
 * remainder. Up to four queries share one pass over the rows, which are read from memory once for all of them.
 */

/** The sum of the four lanes. */
function sumFloats(v: v128): f32 {
  const pairs = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** The sum of the four lanes. */
function sumWords(v: v128): i32 {
  const pairs = i32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
}

/**
 * Scores float32 rows.
 *
 * @param queries `count` queries one after another, each `groups` * 16 float32.
 * @param rows `length` rows one after another, of the same width.
 * @param scores Gets for each query `length` float32 one after another; the next query's begin `scoreStride` bytes further.
 */
export function dotFloats(
  queries: usize,
  count: i32,
  rows: usize,
  length: i32,
  groups: i32,
  scores: usize,
  scoreStride: usize,
): void {
  const width = (<usize>groups) << 6;
  while (count >= 4) {
    dotFloats4(queries, rows, length, width, scores, scoreStride);
    queries += 4 * width;
    scores += 4 * scoreStride;
    count -= 4;
  }
  for (; count > 0; count--) {
    let row = rows;
    for (let index = 0; index < length; index++) {
      let a = f32x4.splat(0);
      let b = f32x4.splat(0);
      let c = f32x4.splat(0);
      let d = f32x4.splat(0);
      let query = queries;
      for (const end = row + width; row < end; row += 64) {
        a = f32x4.add(a, f32x4.mul(v128.load(row), v128.load(query)));
        b = f32x4.add(b, f32x4.mul(v128.load(row, 16), v128.load(query, 16)));
        c = f32x4.add(c, f32x4.mul(v128.load(row, 32), v128.load(query, 32)));
        d = f32x4.add(d, f32x4.mul(v128.load(row, 48), v128.load(query, 48)));
        query += 64;
      }
      store<f32>(scores + ((<usize>index) << 2), sumFloats(f32x4.add(f32x4.add(a, b), f32x4.add(c, d))));
    }
    queries += width;
    scores += scoreStride;
  }
}

function dotFloats4(queries: usize, rows: usize, length: i32, width: usize, scores: usize, scoreStride: usize): void {
  const second = scores + scoreStride;
  const third = second + scoreStride;
  const fourth = third + scoreStride;
  let row = rows;
  for (let index = 0; index < length; index++) {
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let d = f32x4.splat(0);
    let query = queries;
    for (const end = row + width; row < end; row += 32) {
      const near = v128.load(row);
      const far = v128.load(row, 16);
      a = f32x4.add(a, f32x4.mul(near, v128.load(query)));
      b = f32x4.add(b, f32x4.mul(near, v128.load(query + width)));
      c = f32x4.add(c, f32x4.mul(near, v128.load(query + 2 * width)));
      d = f32x4.add(d, f32x4.mul(near, v128.load(query + 3 * width)));
      a = f32x4.add(a, f32x4.mul(far, v128.load(query, 16)));
      b = f32x4.add(b, f32x4.mul(far, v128.load(query + width, 16)));
      c = f32x4.add(c, f32x4.mul(far, v128.load(query + 2 * width, 16)));
      d = f32x4.add(d, f32x4.mul(far, v128.load(query + 3 * width, 16)));
      query += 32;
    }
    const at = (<usize>index) << 2;
    store<f32>(scores + at, sumFloats(a));
    store<f32>(second + at, sumFloats(b));
    store<f32>(third + at, sumFloats(c));
    store<f32>(fourth + at, sumFloats(d));
  }
}

/**
 * Scores rows of signed bytes: each sum is multiplied by the row's scale.
 *
 * @param queries `count` queries one after another, each `groups` * 16 bytes.
 * @param scales A float32 for each row.
 */
export function dotBytes(
  queries: usize,
  count: i32,
  rows: usize,
  scales: usize,
  length: i32,
  groups: i32,
  scores: usize,
  scoreStride: usize,
): void {
  const width = (<usize>groups) << 4;
  while (count >= 4) {
    dotBytes4(queries, rows, scales, length, width, scores, scoreStride);
    queries += 4 * width;
    scores += 4 * scoreStride;
    count -= 4;
  }
  for (; count > 0; count--) {
    let row = rows;
    for (let index = 0; index < length; index++) {
      let a = i32x4.splat(0);
      let b = i32x4.splat(0);
      let query = queries;
      for (const end = row + width; row < end; row += 16) {
        const numbers = v128.load(row);
        const wanted = v128.load(query);
        a = i32x4.add(a, dotLow(numbers, wanted));
        b = i32x4.add(b, dotHigh(numbers, wanted));
        query += 16;
      }
      const at = (<usize>index) << 2;
      store<f32>(scores + at, <f32>sumWords(i32x4.add(a, b)) * load<f32>(scales + at));
    }
    queries += width;
    scores += scoreStride;
  }
}

function dotLow(a: v128, b: v128): v128 {
  return i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(a), i16x8.extend_low_i8x16_s(b));
}

function dotHigh(a: v128, b: v128): v128 {
  return i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(a), i16x8.extend_high_i8x16_s(b));
}

function dotBytes4(
  queries: usize,
  rows: usize,
  scales: usize,
  length: i32,
  width: usize,
  scores: usize,
  scoreStride: usize,
): void {
  const second = scores + scoreStride;
  const third = second + scoreStride;
  const fourth = third + scoreStride;
  let row = rows;
  for (let index = 0; index < length; index++) {
    let a = i32x4.splat(0);
    let b = i32x4.splat(0);
    let c = i32x4.splat(0);
    let d = i32x4.splat(0);
    let query = queries;
    for (const end = row + width; row < end; row += 16) {
      const numbers = v128.load(row);
      const low = i16x8.extend_low_i8x16_s(numbers);
      const high = i16x8.extend_high_i8x16_s(numbers);
      let wanted = v128.load(query);
      a = i32x4.add(a, i32x4.dot_i16x8_s(low, i16x8.extend_low_i8x16_s(wanted)));
      a = i32x4.add(a, i32x4.dot_i16x8_s(high, i16x8.extend_high_i8x16_s(wanted)));
      wanted = v128.load(query + width);
      b = i32x4.add(b, i32x4.dot_i16x8_s(low, i16x8.extend_low_i8x16_s(wanted)));
      b = i32x4.add(b, i32x4.dot_i16x8_s(high, i16x8.extend_high_i8x16_s(wanted)));
      wanted = v128.load(query + 2 * width);
      c = i32x4.add(c, i32x4.dot_i16x8_s(low, i16x8.extend_low_i8x16_s(wanted)));
      c = i32x4.add(c, i32x4.dot_i16x8_s(high, i16x8.extend_high_i8x16_s(wanted)));
      wanted = v128.load(query + 3 * width);
      d = i32x4.add(d, i32x4.dot_i16x8_s(low, i16x8.extend_low_i8x16_s(wanted)));
      d = i32x4.add(d, i32x4.dot_i16x8_s(high, i16x8.extend_high_i8x16_s(wanted)));
      query += 16;
    }
    const at = (<usize>index) << 2;
    const scale = load<f32>(scales + at);
    store<f32>(scores + at, <f32>sumWords(a) * scale);
    store<f32>(second + at, <f32>sumWords(b) * scale);
    store<f32>(third + at, <f32>sumWords(c) * scale);
    store<f32>(fourth + at, <f32>sumWords(d) * scale);
  }
}

/**
 * Rounds float32 rows to signed bytes, each row by a scale of its own: its largest number becomes 127.
 *
 * @param rows `length` rows of `groups` * 16 float32.
 * @param target Gets as many rows of `groups` * 16 bytes.
 * @param scales Gets for each row what its bytes are to be multiplied by.
 */
export function quantizeRows(rows: usize, length: i32, groups: i32, target: usize, scales: usize): void {
  const width = (<usize>groups) << 6;
  for (let index = 0; index < length; index++) {
    let most = f32x4.splat(0);
    for (let at: usize = 0; at < width; at += 16) most = f32x4.max(most, f32x4.abs(v128.load(rows + at)));
    most = f32x4.max(most, v128.shuffle<f32>(most, most, 2, 3, 0, 1));
    const largest = max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1));
    const scale: f32 = largest > 0 ? largest / 127 : 1;
    const factor = f32x4.splat(1 / scale);
    for (const end = rows + width; rows < end; rows += 64) {
      const front = i16x8.narrow_i32x4_s(toInts(v128.load(rows), factor), toInts(v128.load(rows, 16), factor));
      const back = i16x8.narrow_i32x4_s(toInts(v128.load(rows, 32), factor), toInts(v128.load(rows, 48), factor));
      v128.store(target, i8x16.narrow_i16x8_s(front, back));
      target += 16;
    }
    store<f32>(scales + ((<usize>index) << 2), scale);
  }
}

function toInts(v: v128, factor: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v, factor)));
}
