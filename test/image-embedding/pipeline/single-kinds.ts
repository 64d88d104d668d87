import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import type { ImageEmbeddingPool } from '../../../src/image-embedding/index.js';

/** One image, for every way in which it comes to a worker. */
export interface SingleKinds {
  /** A PNG file of it. */
  readonly file: string;
  /** Embeds it, by the kind of its source. */
  readonly embed: Readonly<
    Record<'path' | 'bytes' | 'large bytes' | 'large base64' | 'url', () => Promise<Float32Array>>
  >;
  destroy(): Promise<void>;
}

/** @param onAnswered Called when the server has handed the whole of an answer to the system. */
export async function createSingleKinds(pool: ImageEmbeddingPool, onAnswered = (): void => {}): Promise<SingleKinds> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-single-'));
  const file = path.join(folder, 'photo.png');
  const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
  const create = { width: 320, height: 240, channels: 3, background: 'grey', noise } as const;
  const bytes = await sharp({ create })
    .png()
    .toFile(file)
    .then(() => sharp(file).jpeg().toBuffer());
  const { url, close } = await serve((_request, response) => {
    response.once('finish', onAnswered);
    response.end(bytes);
  });
  // What takes the pipe several turns of the event loop; decoders pass over what follows the image.
  const large = Buffer.concat([bytes, Buffer.alloc(2_000_000)]);
  const options = { normalize: false };
  return {
    file,
    embed: {
      path: () => pool.embedImage(file, options),
      bytes: () => pool.embedImageBytes(bytes, options),
      'large bytes': () => pool.embedImageBytes(large, options),
      'large base64': () => pool.embedImageBase64(large.toString('base64'), options),
      url: () => pool.embedImageUrl(url, options),
    },
    destroy: async () => {
      close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A server on this machine, and the address of its root. */
export async function serve(answer: RequestListener): Promise<{ readonly url: string; close(): void }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
