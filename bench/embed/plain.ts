/** What users write themselves: sharp to the model's size, planes of floats, onnxruntime. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import sharp from 'sharp';
import type { Setup } from './contender.js';

/** The session as the documentation of onnxruntime shows it, or with options. */
export async function loadSession(setup: Setup, options: InferenceSession.SessionOptions = {}) {
  return InferenceSession.create(setup.spec.file, options);
}

/** One thread, as each of several sessions needs it. */
export const ONE_THREAD: InferenceSession.SessionOptions = { intraOpNumThreads: 1, interOpNumThreads: 1 };

/** Decodes, resizes and crops an image with sharp. */
export async function readPlanes({ spec }: Setup, path: string): Promise<Float32Array> {
  const { output, resize, rescale, mean, std } = spec.preprocess;
  const edge = resize !== undefined && 'shortestEdge' in resize ? resize.shortestEdge : output.width;
  const { data, info } = await sharp(path)
    .rotate()
    .toColourspace('srgb')
    .removeAlpha()
    .resize(edge, edge, { fit: 'outside' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const left = (info.width - output.width) >> 1;
  const top = (info.height - output.height) >> 1;
  const plane = output.width * output.height;
  const planes = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    const scale = rescale / (std[channel] as number);
    const shift = (mean[channel] as number) / (std[channel] as number);
    for (let y = 0; y < output.height; y++) {
      let from = ((top + y) * info.width + left) * 3 + channel;
      const start = channel * plane + y * output.width;
      for (let x = 0; x < output.width; x++, from += 3) planes[start + x] = (data[from] as number) * scale - shift;
    }
  }
  return planes;
}

/** Runs a batch that is there already: `[rows, 3, height, width]`. */
export async function infer(
  { spec }: Setup,
  session: InferenceSession,
  planes: Float32Array,
  rows: number,
): Promise<Float32Array[]> {
  const { width, height } = spec.preprocess.output;
  const output = spec.output?.name ?? (session.outputNames[0] as string);
  const input = new Tensor('float32', planes, [rows, 3, height, width]);
  const { [output]: result } = await session.run({ [session.inputNames[0] as string]: input }, [output]);
  const data = (result as Tensor).data as Float32Array;
  const length = data.length / rows;
  return Array.from({ length: rows }, (_, row) => normalize(data.slice(row * length, (row + 1) * length)));
}

/** Scales a vector to length 1. */
export function normalize(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return vector.map((each) => each / length);
}
