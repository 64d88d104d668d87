/** Embeds one image in a host, and stays for a while; or prepares the model: `node one-image.mjs <host | 'prepare'> <image> [<ms>]`. */
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createImageEmbeddingPool, prepareModel } from '../../dist/image-embedding/index.js';

const [host, image, ms = '0'] = process.argv.slice(2);
if (host === 'prepare') {
  const model = fileURLToPath(new URL('../../models/mobilenet-v1-0.25', import.meta.url));
  await prepareModel(model, { minBytes: 1 });
} else {
  const pool = createImageEmbeddingPool({ workers: 1, host, ...(host === 'process' ? { spareHosts: 1 } : {}) });
  await pool.embedImage(image);
  await delay(Number(ms));
  await pool.close();
}
