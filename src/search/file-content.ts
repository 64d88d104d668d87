import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { encodePath } from '../image-embedding/internal.js';
import { type PictureFacts, pictureFacts } from './picture-facts.js';

/** Of what an EXIF block can have at most, and the segments around it. */
const HEAD_BYTES = 131_072;
const TAIL_BYTES = 65_536;

/** What the content of a file says. */
export interface FileContent extends PictureFacts {
  /**
   * Tells files of one content from all others: a digest of the size, the first 128 KB and the last 64 KB. Photographs of one size that differ in
   * between alone do not occur, and reading all of a large library twice would double the time on a slow disk.
   */
  readonly hash: string;
}

/** Reads the head and the tail of a file. @throws The system's error. */
export async function readContent(file: string, size: number): Promise<FileContent> {
  const handle = await open(encodePath(file), 'r');
  try {
    const hash = createHash('sha256').update(`${size}:`);
    const read = async (start: number, length: number): Promise<Buffer> => {
      const sample = Buffer.alloc(length);
      const { bytesRead } = await handle.read(sample, 0, length, start);
      hash.update(sample.subarray(0, bytesRead));
      return sample.subarray(0, bytesRead);
    };
    const isShort = size <= HEAD_BYTES + TAIL_BYTES;
    const head = await read(0, isShort ? size : HEAD_BYTES);
    if (!isShort) await read(size - TAIL_BYTES, TAIL_BYTES);
    return { hash: hash.digest('hex').slice(0, 32), ...(await pictureFacts(head)) };
  } finally {
    await handle.close();
  }
}
