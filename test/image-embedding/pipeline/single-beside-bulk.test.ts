import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { callBesideBulk } from './single-beside-bulk.js';
import { createSlowPool } from './slow-pool.js';

const RUN_MS = 120;

test('ImageEmbeddingPool.batchEmbedImages() of 1,000 images holds up a single one by one inference batch at most, whenever it comes', async () => {
  const singles = await callBesideBulk(RUN_MS, 10);
  // A quarter more, for a call that waits in its sender while the machine is busy. One that misses the next batch waits for up to two; a fetch
  // that takes longer than bulk waits for it goes on in the run that follows.
  // Bulk waits for a second at most: what took longer to decode, on a machine that is busy with other things, is no case of this.
  const late = singles.filter(({ kind, runs, waitedMs }) => runs > (kind === 'url' ? 2.25 : 1.25) && waitedMs < 1_000);
  expect(late).toEqual([]);
}, 120_000);

test('ImageEmbeddingPool.embedImageUrl() fetches while the model runs, redirects and all', async () => {
  const { pool, runOf, now } = createSlowPool(1_000, { limits: { url: { allowPrivateAddresses: true } } });
  const photo = await readFile(fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url)));
  let answeredAt = 0;
  const server = createServer((request, response) => {
    const left = Number(request.url?.slice(1));
    answeredAt = now();
    if (left > 0) response.writeHead(302, { location: `/${left - 1}` }).end();
    else response.end(photo);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/3`;
    await pool.embedImageUrl(url);
    // On a busy machine the fetch may be over before the run begins; then nothing was seen.
    let seen = false;
    for (let round = 0; round < 8 && !seen; round += 1) {
      const busy = pool.embedImageBytes(photo, { normalize: false });
      await pool.embedImageUrl(url, { normalize: false });
      const { begun, ended } = runOf(await busy);
      expect(ended - begun).toBeGreaterThan(900);
      seen = answeredAt > begun;
      // Four requests, one after another, before the end of a run that began as they did.
      expect(answeredAt).toBeLessThan(ended);
    }
    expect(seen).toBe(true);
  } finally {
    await pool.destroy();
    server.close();
  }
}, 60_000);
