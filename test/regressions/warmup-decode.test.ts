import { expect, test } from 'vitest';
import { createImageEmbeddingPool } from '../../src/image-embedding/index.js';

// It was an unhandled rejection: the worker "exited with code 1", and nobody learned why.
test('a decode that fails while the model warms up is the reason that the load gives', async () => {
  const pool = createImageEmbeddingPool({ workers: { max: 1 }, limits: { decodeTimeoutMs: 1 }, stdio: 'ignore' });
  await expect(pool.embedImage('examples/photos/cat-1.jpg')).rejects.toMatchObject({
    message: expect.stringContaining('it took longer than 1 ms'),
  });
  await pool.destroy();
});
