/** Clients that post JSON of 21 MB while another asks for the health. */
import { Agent, get, request } from 'node:http';
import sharp from 'sharp';
import type { Serving } from './support/serving.js';

/** How the server did. */
export interface LargeBodies {
  readonly statuses: Record<number, number>;
  /** How many times `/health` was answered meanwhile. */
  readonly asked: number;
}

/** JSON of about so many bytes, with one picture that cannot be compressed. */
export async function largeBody(bytes: number): Promise<Buffer> {
  const side = Math.round(Math.sqrt((bytes * 0.75) / 3));
  const pixels = Buffer.alloc(side * side * 3);
  let state = 1;
  for (let index = 0; index < pixels.length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    pixels[index] = state >>> 24;
  }
  const png = await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
    .png({ compressionLevel: 0 })
    .toBuffer();
  return Buffer.from(JSON.stringify({ input: `data:image/png;base64,${png.toString('base64')}` }));
}

export async function postLargeBodies(at: Serving, body: Buffer, clients: number): Promise<LargeBodies> {
  const agent = new Agent({ keepAlive: true });
  const statuses: Record<number, number> = {};
  let asked = 0;
  let isOver = false;
  const posting = Array.from({ length: clients }, async () => {
    const status = await new Promise<number>((resolve, reject) => {
      const sent = request(at.url('/v1/embeddings'), { method: 'POST', agent }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
      });
      sent.on('error', reject);
      sent.end(body);
    });
    statuses[status] = (statuses[status] ?? 0) + 1;
  });
  const asking = (async () => {
    while (!isOver) {
      await new Promise<void>((resolve, reject) => {
        get(at.url('/health'), { agent }, (answer) => answer.resume().on('end', resolve)).on('error', reject);
      });
      asked++;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  await Promise.all(posting);
  isOver = true;
  await asking;
  agent.destroy();
  return { statuses, asked };
}
