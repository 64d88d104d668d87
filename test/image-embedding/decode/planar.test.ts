import { describe, expect, it } from 'vitest';
import { createPlanarWriter, rowByRow } from '../../../src/image-embedding/decode/planar.js';

const spec = { rescale: 1, mean: [0, 0, 0], std: [1, 1, 1], dtype: 'float32' } as const;
const output = { width: 2, height: 2 };
const geometry = (width: number) => ({
  resized: { width, height: 2 },
  window: { left: 0, top: 0, width, height: 2 },
  offset: { left: 0, top: 0 },
  output,
});
const region = (width: number) => ({ left: 0, top: 0, width, height: 2 });

describe('PlanarWriter.recycle()', () => {
  it('has the planes written again by a later image', () => {
    const writer = createPlanarWriter(spec);
    const first = writer.create(geometry(2));
    writer.write(first, geometry(2), region(2), rowByRow(new Uint8Array(12).fill(7), 2));
    expect(writer.create(geometry(2))).not.toBe(first);
    writer.recycle(first);
    expect(writer.create(geometry(2))).toBe(first);
  });

  it('leaves nothing of the earlier image around a smaller one', () => {
    const writer = createPlanarWriter(spec);
    const first = writer.create(geometry(2));
    first.fill(9);
    writer.recycle(first);
    const second = writer.create(geometry(1));
    writer.write(second, geometry(1), region(1), rowByRow(new Uint8Array(6).fill(1), 1));
    expect([...second]).toEqual([1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
  });

  it('keeps no more planes than told', () => {
    const writer = createPlanarWriter(spec, 1);
    const [one, other] = [writer.create(geometry(2)), writer.create(geometry(2))];
    writer.recycle(one);
    writer.recycle(other);
    expect(writer.create(geometry(2))).toBe(one);
    expect(writer.create(geometry(2))).not.toBe(other);
  });
});
