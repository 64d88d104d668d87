import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { encodePath } from '../image-embedding/index.js';

const SAMPLE_BYTES = 65_536;

/**
 * Tells files of one content from all others: a digest of the size, the first 64 KB and the last 64 KB. Photographs of one size that differ in
 * between alone do not occur, and reading all of a large library twice would double the time on a slow disk.
 *
 * @throws The system's error.
 */
export async function contentHash(file: string, size: number): Promise<string> {
  const handle = await open(encodePath(file), 'r');
  try {
    const hash = createHash('sha256').update(`${size}:`);
    const starts = size <= 2 * SAMPLE_BYTES ? [0] : [0, size - SAMPLE_BYTES];
    const length = starts.length === 1 ? size : SAMPLE_BYTES;
    for (const start of starts) {
      const sample = Buffer.alloc(length);
      const { bytesRead } = await handle.read(sample, 0, length, start);
      hash.update(sample.subarray(0, bytesRead));
    }
    return hash.digest('hex').slice(0, 32);
  } finally {
    await handle.close();
  }
}
