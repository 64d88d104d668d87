import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { PreprocessSpec } from '../../src/image-embedding/preprocess-spec.js';
import { createPreprocessor } from '../../src/image-embedding/preprocessor.js';

const photos = fileURLToPath(new URL('../../examples/photos/', import.meta.url));
const spec: PreprocessSpec = {
  resize: { shortestEdge: 224 },
  resample: 'bicubic',
  crop: { width: 224, height: 224 },
  rescale: 1 / 255,
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  output: { width: 224, height: 224 },
  layout: 'chw',
  dtype: 'float32',
};

describe('createPreprocessor()', () => {
  it('Preprocessor.decode() gives planes of the size that the spec names', async () => {
    const bytes = await readFile(`${photos}cat-1.jpg`);
    for (const mode of ['fast', 'exact'] as const) {
      const planes = await createPreprocessor(spec, mode).decode(bytes);
      expect(planes).toBeInstanceOf(Float32Array);
      expect(planes.length).toBe(3 * 224 * 224);
      const raw = await createPreprocessor({ ...spec, dtype: 'uint8' }, mode).decode(bytes);
      expect(raw).toBeInstanceOf(Uint8Array);
      expect(planes[0]).toBeCloseTo(((raw[0] as number) / 255 - 0.48145466) / 0.26862954, 5);
    }
  });

  it('Preprocessor.decode() takes every photograph of the examples', async () => {
    const preprocessor = createPreprocessor(spec);
    for (const name of (await readdir(photos)).filter((each) => each.endsWith('.jpg'))) {
      const planes = await preprocessor.decode(await readFile(photos + name));
      expect(planes.every(Number.isFinite)).toBe(true);
    }
  });
});
