/** Beside the worker that makes the demo's thumbnails: decoding stays out of the caller's process. */
import { readFile } from 'node:fs/promises';
import { createThumbnail } from '../image-embedding/index.js';
import { type ModelOf, operation, type UnaryOperation } from '../worker/index.js';

/** What the thumbnail worker can do. */
export const thumbnailOperations: { readonly makeThumbnail: UnaryOperation<string, Uint8Array> } = {
  makeThumbnail: operation<string, Uint8Array>({ capacity: 8, idempotent: true }),
};

/** Makes the worker's model. */
export default function createModel(): ModelOf<typeof thumbnailOperations> {
  return { makeThumbnail: async (file) => await createThumbnail(await readFile(file), { restrictLoaders: true }) };
}
