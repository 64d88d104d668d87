import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createHeldPool } from './held-pool.js';
import { createSingleKinds, serve } from './single-kinds.js';

const MAX_BATCH = 8;
const limits = { url: { allowPrivateAddresses: true } };

/** Until the message of a call made before is in the pipe, or as much of it as that takes: sending it needs no more than turns of this loop. */
async function sent(): Promise<void> {
  for (let count = 0; count < 20; count += 1) await turn();
}

test('ImageEmbeddingPool.batchEmbedImages() of 1,000 images has a single one wait for the run under way and no other, whatever its source', async () => {
  const { pool, hold, step, release, runOf, destroy } = await createHeldPool({ maxBatch: MAX_BATCH, limits });
  const answered = new EventTarget();
  const {
    file,
    embed,
    destroy: destroyKinds,
  } = await createSingleKinds(pool, () => answered.dispatchEvent(new Event('answered')));
  const stop = new AbortController();
  const waits: { kind: string; isNext: boolean }[] = [];
  const sizes: number[] = [];
  try {
    for (const call of Object.values(embed)) await call();
    const bulk = (async () => {
      for (;;) await pool.batchEmbedImages(new Array(1_000).fill(file), { signal: stop.signal, timeoutMs: 600_000 });
    })().catch(() => undefined);
    for (const kind of ['path', 'bytes', 'large bytes', 'large base64', 'url'] as const) {
      for (let round = 0; round < 3; round += 1) {
        let held = await hold();
        // Bulk decodes further ahead as its batches grow; at last it would fill every place.
        for (let count = 0; count < 5; count += 1) held = await step(held);
        const isAnswered = once(answered, 'answered');
        const call = embed[kind]();
        await sent();
        if (kind === 'url') {
          // Its fetch begins when the run under way ends, and goes on in the next, which lasts until all of it is there and a little longer.
          await step(held);
          await isAnswered;
          await delay(300);
        }
        await release();
        const { number, images } = runOf(await call);
        // A fetch that takes longer than bulk waits for it is in the run after the one during which it ended.
        waits.push({ kind, isNext: number - held <= (kind === 'url' ? 2 : 1) });
        sizes.push(images);
      }
    }
    expect(waits.filter(({ isNext }) => !isNext)).toEqual([]);
    expect(Math.max(...sizes), 'bulk beside it').toBeGreaterThan(1);
    stop.abort();
    await bulk;
  } finally {
    await destroy();
    await destroyKinds();
  }
}, 60_000);

test('ImageEmbeddingPool.embedImageUrl() fetches while the model runs, redirects and all', async () => {
  const { pool, hold, release, destroy } = await createHeldPool({ limits });
  const photo = await readFile(fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url)));
  let letGo: () => void = () => undefined;
  const isHeld = new Promise<void>((resolve) => (letGo = resolve));
  let isAsked: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => (isAsked = resolve));
  const served = new EventTarget();
  const { url, close } = await serve(async (request, response) => {
    const left = Number(request.url?.slice(1));
    if (left === 3) isAsked();
    await isHeld;
    if (left > 0) response.writeHead(302, { location: `/${left - 1}` }).end();
    else response.once('finish', () => served.dispatchEvent(new Event('served'))).end(photo);
  });
  try {
    const isServed = once(served, 'served');
    const fetched = pool.embedImageUrl(`${url}3`, { normalize: false });
    await asked;
    // The model runs another image from here on, and no JavaScript does beside it.
    const holding = hold();
    const other = pool.embedImageBytes(photo, { normalize: false });
    await holding;
    letGo();
    await isServed;
    await release();
    expect(await Promise.all([fetched, other])).toHaveLength(2);
  } finally {
    await destroy();
    close();
  }
}, 60_000);
