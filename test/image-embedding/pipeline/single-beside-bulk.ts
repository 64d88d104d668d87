/** Single images at random moments beside a batch operation that never ends, in a real child. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import sharp from 'sharp';
import { createSlowPool } from './slow-pool.js';

/** Its multiples, less the whole, never come together. */
const GOLDEN = 0.618_034;

export interface Beside {
  /** Where the image comes from. */
  readonly kind: string;
  /** How many runs of the model, whole ones and the rest of one, a call waited for, its own not counted. */
  readonly runs: number;
  /** From the call to the beginning of its image's own run, in ms. */
  readonly waitedMs: number;
}

export async function callBesideBulk(runMs: number, calls: number): Promise<Beside[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-beside-'));
  const { pool, now, runOf, runsBefore } = createSlowPool(runMs, { limits: { url: { allowPrivateAddresses: true } } });
  const stop = new AbortController();
  const server = createServer();
  try {
    const file = path.join(folder, 'photo.png');
    const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
    const create = { width: 320, height: 240, channels: 3, background: 'grey', noise } as const;
    const bytes = await sharp({ create })
      .png()
      .toFile(file)
      .then(() => sharp(file).jpeg().toBuffer());
    server.on('request', (_request, response) => response.end(bytes));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    // What takes the pipe several turns of the event loop; decoders pass over what follows the image.
    const large = Buffer.concat([bytes, Buffer.alloc(2_000_000)]);
    const options = { normalize: false };
    const kinds = {
      path: () => pool.embedImage(file, options),
      bytes: () => pool.embedImageBytes(bytes, options),
      'large bytes': () => pool.embedImageBytes(large, options),
      'large base64': () => pool.embedImageBase64(large.toString('base64'), options),
      url: () => pool.embedImageUrl(url, options),
    };
    for (const embed of Object.values(kinds)) await embed();
    const bulk = (async () => {
      for (;;) await pool.batchEmbedImages(new Array(1_000).fill(file), { signal: stop.signal, timeoutMs: 600_000 });
    })().catch(() => undefined);
    // Real time, because the child's runs take it. After some runs bulk fills every place; if it does not yet, a call waits for less.
    await delay(4 * runMs);
    const singles: Beside[] = [];
    for (let count = 0; count < calls; count += 1) {
      // No event to wait for: a call comes at moments spread over the whole of a run, and a little more.
      await delay(1.3 * runMs * ((count * GOLDEN) % 1));
      const called = now();
      const [kind, embed] = Object.entries(kinds)[count % 5] as [string, () => Promise<Float32Array>];
      const vector = await embed();
      const shares = runsBefore(vector).map(({ begun, ended }) => (ended - Math.max(called, begun)) / (ended - begun));
      singles.push({
        kind,
        runs: shares.reduce((sum, each) => sum + (each > 0 ? each : 0), 0),
        waitedMs: runOf(vector).begun - called,
      });
    }
    stop.abort();
    await bulk;
    return singles;
  } finally {
    await pool.destroy();
    server.close();
    await rm(folder, { recursive: true, force: true });
  }
}
