import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { createImageEmbeddingPool, type HubProgress } from '../../image-embedding/index.js';
import { encodePath } from '../../image-embedding/internal.js';
import { BASE64_ENDINGS } from '../input/inputs.js';
import type { CreateEmbedder } from './context.js';

// Long enough for an image behind many others; a worker that hangs is noticed earlier.
const TIMEOUT_MS = 600_000;
const MAX_READ_BYTES = 100_000_000;

/** An embedder over the image embedding pool. */
export const createPoolEmbedder: CreateEmbedder = async (given) => {
  const { model, workers, op, onDownload, preprocess, normalize, limits } = given;
  const pool = createImageEmbeddingPool({
    ...(model === undefined ? {} : { model }),
    ...(workers === undefined ? {} : { workers }),
    ...(preprocess === undefined ? {} : { preprocess }),
    ...(onDownload === undefined ? {} : { hub: { onProgress: (progress) => onDownload(describeDownload(progress)) } }),
    limits: { ...limits, url: { ...limits?.url, allowPrivateAddresses: given.allowPrivateUrls } },
    // A command reports each image, so failures of others must not refuse it.
    breaker: false,
  });
  const options = {
    timeoutMs: TIMEOUT_MS,
    priority: 'batch',
    ...(normalize === undefined ? {} : { normalize }),
  } as const;
  return {
    async embed({ kind, name, file = name }) {
      if (kind === 'url') return await pool.embedImageUrl(name, options);
      const base64 = op === 'base64' ? await readBase64(file, limits?.maxBytes ?? MAX_READ_BYTES) : undefined;
      return await (base64 === undefined ? pool.embedImage(file, options) : pool.embedImageBase64(base64, options));
    },
    embedBytes: (bytes) => pool.embedImageBytes(bytes, options),
    describe: () => pool.describe(),
    window: given.concurrency ?? pool.window,
    workers: pool.maxWorkers,
    close: () => pool.close(),
    destroy: (reason) => pool.destroy(reason),
  };
};

/** A file as base64; undefined if it can't be read, so that the worker reports why. */
async function readBase64(file: string, maxBytes: number): Promise<string | undefined> {
  const name = encodePath(file);
  const isText = BASE64_ENDINGS.has(path.extname(file).toLowerCase());
  // Base64 has four characters for three bytes, and line breaks.
  const most = isText ? 1.4 * maxBytes : maxBytes;
  try {
    const info = await stat(name);
    if (!info.isFile() || info.size > most) return undefined;
    return (await readFile(name, isText ? 'latin1' : 'base64')) || undefined;
  } catch {
    return undefined;
  }
}

function describeDownload({ model, allReceivedBytes, allTotalBytes }: HubProgress): string {
  return `downloading ${model}  ${(allReceivedBytes / 1e6).toFixed(1)}/${(allTotalBytes / 1e6).toFixed(1)} MB`;
}
