import { describe, expect, it } from 'vitest';
import { sendDamaged } from './damaged-through-pool.js';

describe('ImageEmbeddingPool.embedImageBytes() on thousands of damaged images', () => {
  it('answers each with an embedding or a coded error, and stays sound', async () => {
    const seed = Number(process.env.MILLRACE_FUZZ_SEED ?? 7);
    const count = Number(process.env.MILLRACE_FUZZ_COUNT ?? 6000);
    const outcomes = await sendDamaged(count, seed);
    process.stdout.write(`damaged images, seed ${seed}: ${JSON.stringify(Object.fromEntries(outcomes))}\n`);
    expect([...outcomes.values()].reduce((sum, each) => sum + each, 0)).toBe(count);
  });
});
