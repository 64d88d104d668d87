/**
 * `npm run bench -- preprocess [--short]`: what it costs to make a model's input of an image, and how far the result is from Pillow's
 * resampling; then the conversion of pixels to planes alone.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import sharp, { type Sharp } from 'sharp';
import type { PreprocessSpec } from '../src/image-embedding/model/model-spec.js';

type Preprocessing = typeof import('../src/image-embedding/decode/preprocessor.js');
type Geometry = typeof import('../src/image-embedding/decode/scale.js');
type Kernels = typeof import('../src/image-embedding/kernels/kernels.js');
type Tensors = typeof import('../src/image-embedding/inference/tensors.js');

const dist = new URL('../dist/image-embedding/', import.meta.url);
const { createPreprocessor } = (await import(new URL('preprocessor.js', dist).href)) as Preprocessing;
const { planGeometry } = (await import(new URL('decode/geometry.js', dist).href)) as Geometry;
const { loadKernels } = (await import(new URL('kernels/kernels.js', dist).href)) as Kernels;
const { TensorInput } = (await import(new URL('inference/tensor-input.js', dist).href)) as Tensors;

const SIDE = 224;
const PLANE = SIDE * SIDE;
const clip: PreprocessSpec = {
  resize: { shortestEdge: SIDE },
  resample: 'bicubic',
  crop: { width: SIDE, height: SIDE },
  rescale: 1 / 255,
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  output: { width: SIDE, height: SIDE },
  layout: 'chw',
  dtype: 'uint8',
};

/** What a program does that leaves everything to sharp. */
async function plainSharp(bytes: Buffer, shrinkOnLoad: boolean): Promise<Uint8Array> {
  let image: Sharp = sharp(bytes).toColourspace('srgb');
  const { width, height } = await sharp(bytes).metadata();
  const { resized, window } = planGeometry(clip, { width, height });
  // A cut before the resize keeps sharp from reading the JPEG at a fraction.
  if (!shrinkOnLoad) image = image.extract({ left: 0, top: 0, width, height });
  const pixels = await image
    .resize(resized.width, resized.height, { fit: 'fill', kernel: 'cubic' })
    .extract(window)
    .raw()
    .toBuffer();
  return pixels;
}

function difference(a: ArrayLike<number>, b: ArrayLike<number>): string {
  let largest = 0;
  let sum = 0;
  for (let index = 0; index < a.length; index++) {
    const each = Math.abs((a[index] as number) - (b[index] as number));
    largest = Math.max(largest, each);
    sum += each;
  }
  return `${largest} / ${(sum / a.length).toFixed(3)}`;
}

/** CPU time of the whole process for each run, libvips's threads included, in ms: the least of several groups, which other work on the machine disturbs least. */
async function time(rounds: number, run: () => unknown): Promise<number> {
  await run();
  let least = Number.POSITIVE_INFINITY;
  for (let group = 0; group < 5; group++) {
    const before = process.cpuUsage();
    for (let round = 0; round < rounds; round++) await run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000 / rounds);
  }
  return least;
}

async function sources(): Promise<readonly (readonly [string, Buffer])[]> {
  const photo = (name: string): Promise<Buffer> =>
    readFile(fileURLToPath(new URL(`../examples/photos/${name}.jpg`, import.meta.url)));
  const raccoon = await photo('raccoon-1');
  const large = (width: number, height: number): Sharp =>
    sharp(raccoon).resize(width, height, { fit: 'fill', kernel: 'lanczos3' });
  return [
    ['JPEG 451×300', await photo('cat-1')],
    ['JPEG 720×540', raccoon],
    ['JPEG 1500×1125', await large(1500, 1125).jpeg({ quality: 90 }).toBuffer()],
    ['JPEG 4000×3000', await large(4000, 3000).jpeg({ quality: 90 }).toBuffer()],
    ['JPEG 4001×3001', await large(4001, 3001).jpeg({ quality: 90 }).toBuffer()],
    ['JPEG 8000×6000', await large(8000, 6000).jpeg({ quality: 90 }).toBuffer()],
    ['PNG 1500×1125', await large(1500, 1125).png().toBuffer()],
    ['WebP 1500×1125', await large(1500, 1125).webp({ quality: 90 }).toBuffer()],
  ];
}

async function decoding(rounds: number): Promise<void> {
  process.stdout.write(
    '\nDecode, resize and crop to 224×224: CPU ms each (largest / mean difference from Pillow, of 255)\n\n',
  );
  const exact = createPreprocessor(clip, 'exact', { restrictLoaders: false });
  const fast = createPreprocessor(clip, 'fast', { restrictLoaders: false });
  const rows: Record<string, Record<string, string>> = {};
  for (const [name, bytes] of await sources()) {
    const truth = await exact.decode(bytes);
    const ways: Record<string, () => Promise<ArrayLike<number>>> = {
      fast: () => fast.decode(bytes),
      exact: () => exact.decode(bytes),
      'sharp alone': () => plainSharp(bytes, true),
      'sharp alone, whole': () => plainSharp(bytes, false),
    };
    const row: Record<string, string> = {};
    for (const [way, run] of Object.entries(ways)) {
      const ms = await time(rounds, run);
      row[way] = `${ms.toFixed(1)} (${difference(await run(), truth)})`;
    }
    rows[name] = row;
  }
  print(rows);
}

async function converting(rounds: number): Promise<void> {
  process.stdout.write('\n224×224 RGB bytes to planes: CPU µs each\n\n');
  const photo: Buffer = await readFile(fileURLToPath(new URL('../examples/photos/cat-1.jpg', import.meta.url)));
  const pixels = await sharp(photo).resize(SIDE, SIDE, { fit: 'fill' }).raw().toBuffer();
  const size = { width: SIDE, height: SIDE };
  const viaTable = (type: 'float32' | 'float16' | 'uint8') => {
    const spec = { preprocess: clip, channels: 'rgb' } as const;
    const input = new TensorInput({ name: '', type, batch: undefined, ...size }, spec);
    return () => input.write([pixels], 1);
  };
  const { mean, std } = clip;
  const ways: Record<string, () => unknown> = {
    'tables, float32 (ours)': viaTable('float32'),
    'tables, float16 (ours)': viaTable('float16'),
    'tables, uint8 (ours)': viaTable('uint8'),
    'arithmetic, one pass a channel': () => {
      const planes = new Float32Array(3 * PLANE);
      for (let channel = 0; channel < 3; channel++) {
        for (let at = 0; at < PLANE; at++) {
          planes[channel * PLANE + at] =
            ((pixels[at * 3 + channel] as number) / 255 - (mean[channel] as number)) / (std[channel] as number);
        }
      }
      return planes;
    },
    'sharp: linear to float, then planes': async () => {
      const floats = await sharp(pixels, { raw: { ...size, channels: 3 as const } })
        .linear(
          std.map((each) => 1 / 255 / each),
          std.map((each, channel) => -(mean[channel] as number) / each),
        )
        .raw({ depth: 'float' })
        .toBuffer();
      const interleaved = new Float32Array(floats.buffer, floats.byteOffset, floats.byteLength / 4);
      const planes = new Float32Array(3 * PLANE);
      for (let at = 0, from = 0; at < PLANE; at++, from += 3) {
        planes[at] = interleaved[from] as number;
        planes[at + PLANE] = interleaved[from + 1] as number;
        planes[at + 2 * PLANE] = interleaved[from + 2] as number;
      }
      return planes;
    },
  };
  const rows: Record<string, Record<string, string>> = {};
  for (const [name, run] of Object.entries(ways)) {
    rows[name] = { µs: ((await time(rounds * 20, run)) * 1000).toFixed(0) };
  }
  print(rows);
}

function print(rows: Record<string, Record<string, string>>): void {
  const columns = Object.keys(Object.values(rows)[0] as Record<string, string>);
  const lines = [
    ['', ...columns],
    ['---', ...columns.map(() => '---')],
  ];
  for (const [name, row] of Object.entries(rows)) lines.push([name, ...columns.map((column) => row[column] ?? '')]);
  for (const line of lines) process.stdout.write(`| ${line.join(' | ')} |\n`);
}

/** Runs both parts. */
export async function run(args: string[]): Promise<void> {
  await loadKernels();
  const rounds = args.includes('--short') ? 2 : 6;
  const { vips } = sharp.versions;
  process.stdout.write(`node ${process.version}, libvips ${vips}, ${availableParallelism()} cores\n`);
  await decoding(rounds);
  await converting(rounds);
}
