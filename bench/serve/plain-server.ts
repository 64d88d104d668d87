/** The server that users write themselves: node:http over a loop of sharp and onnxruntime. Takes the bytes of an image, or `{ input: [data URL] }`. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readModelFolder } from 'millrace/image-embedding';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import sharp from 'sharp';
import { normalize } from '../embed/plain.js';

const [folder] = process.argv.slice(2) as [string];
const spec = await readModelFolder(folder);
const session = await InferenceSession.create(spec.file);
const { output, resize, rescale, mean, std } = spec.preprocess;
const { width, height } = output;
const edge = resize !== undefined && 'shortestEdge' in resize ? resize.shortestEdge : width;
const outputName = spec.output?.name ?? (session.outputNames[0] as string);

async function embed(bytes: Uint8Array): Promise<Float32Array> {
  const { data, info } = await sharp(bytes)
    .rotate()
    .toColourspace('srgb')
    .removeAlpha()
    .resize(edge, edge, { fit: 'outside' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const left = (info.width - width) >> 1;
  const top = (info.height - height) >> 1;
  const planes = new Float32Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    const scale = rescale / (std[channel] as number);
    const shift = (mean[channel] as number) / (std[channel] as number);
    for (let y = 0; y < height; y++) {
      let from = ((top + y) * info.width + left) * 3 + channel;
      const start = channel * width * height + y * width;
      for (let x = 0; x < width; x++, from += 3) planes[start + x] = (data[from] as number) * scale - shift;
    }
  }
  const input = new Tensor('float32', planes, [1, 3, height, width]);
  const { [outputName]: result } = await session.run({ [session.inputNames[0] as string]: input }, [outputName]);
  return normalize((result as Tensor).data as Float32Array);
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    const answer = async (): Promise<object> => {
      if (request.headers['content-type'] !== 'application/json') return [Array.from(await embed(body))];
      const { input } = JSON.parse(body.toString()) as { input: string[] };
      const all = input.map((url) => embed(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64')));
      return { data: (await Promise.all(all)).map((vector) => ({ embedding: Array.from(vector) })) };
    };
    answer().then(
      (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value)),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
});
server.listen(0, '127.0.0.1', () =>
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
);
