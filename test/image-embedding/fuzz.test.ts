import { describe, expect, it } from 'vitest';
import { isMillraceError } from '../../src/core/index.js';
import { createPreprocessor } from '../../src/image-embedding/decode/preprocessor.js';
import { mutatedImages } from './mutated-images.js';
import { squareSpec } from './square-spec.js';

const spec = squareSpec(64, { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] });

describe('Preprocessor.decode() on damaged images', { timeout: 120_000 }, () => {
  it('gives each a tensor or a coded error that is the caller’s fault', async () => {
    const preprocessor = createPreprocessor(spec);
    const codes = new Map<string, number>();
    for (const { name, bytes } of await mutatedImages(600, 20_260_101)) {
      let outcome = 'tensor';
      try {
        expect((await preprocessor.decode(bytes)).length, name).toBe(3 * 64 * 64);
      } catch (error) {
        if (!isMillraceError(error)) throw new Error(`${name}: ${String(error)}`, { cause: error });
        expect(error.fault, name).toBe('caller');
        outcome = error.code;
      }
      codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
    }
    expect([...codes.values()].reduce((sum, count) => sum + count, 0)).toBe(600);
    // Both happen often, or the damage is too much or too little to tell anything.
    expect(codes.get('tensor')).toBeGreaterThan(60);
    expect(codes.get('ERR_IMAGE_CORRUPT')).toBeGreaterThan(60);
  });
});
