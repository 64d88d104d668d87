import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { createImageEmbeddingPool, type HubProgress } from '../image-embedding/index.js';
import type { CreateEmbedder } from './embedder.js';
import { BASE64_ENDINGS } from './input/inputs.js';

// A run over many images waits its turn as long as it must; what hangs is still found out.
const TIMEOUT_MS = 600_000;
const MAX_READ_BYTES = 100_000_000;

/** An embedder over the image embedding pool. */
export const createPoolEmbedder: CreateEmbedder = async ({ model, workers, op, allowPrivateUrls, onDownload }) => {
  const pool = createImageEmbeddingPool({
    ...(model === undefined ? {} : { model }),
    ...(workers === undefined ? {} : { workers }),
    ...(onDownload === undefined ? {} : { hub: { onProgress: (progress) => onDownload(describeDownload(progress)) } }),
    limits: { url: { allowPrivateAddresses: allowPrivateUrls } },
    // Each image is answered for itself, whatever became of those before it.
    breaker: false,
  });
  const options = { timeoutMs: TIMEOUT_MS, priority: 'batch' } as const;
  return {
    async embed({ kind, name }) {
      if (kind === 'url') return await pool.embedImageUrl(name, options);
      const base64 = op === 'base64' ? await readBase64(name) : undefined;
      return await (base64 === undefined ? pool.embedImage(name, options) : pool.embedImageBase64(base64, options));
    },
    describe: () => pool.describe(),
    window: pool.window,
    workers: pool.maxWorkers,
    close: () => pool.close(),
    destroy: (reason) => pool.destroy(reason),
  };
};

/** A file as base64; undefined where it can't be read here, so that the worker says why. */
async function readBase64(file: string): Promise<string | undefined> {
  try {
    const info = await stat(file);
    if (!info.isFile() || info.size > MAX_READ_BYTES) return undefined;
    return await readFile(file, BASE64_ENDINGS.has(path.extname(file).toLowerCase()) ? 'latin1' : 'base64');
  } catch {
    return undefined;
  }
}

function describeDownload({ model, allReceivedBytes, allTotalBytes }: HubProgress): string {
  return `downloading ${model}  ${(allReceivedBytes / 1e6).toFixed(1)}/${(allTotalBytes / 1e6).toFixed(1)} MB`;
}
