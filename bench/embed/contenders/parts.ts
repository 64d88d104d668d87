/** What the work is made of, each alone: these bound what a pool can reach. Run as one process per core at once. */
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import type { Contender, Contenders, Setup } from '../contender.js';
import { infer, loadSession, normalize, ONE_THREAD, readPlanes } from '../plain.js';

type Preprocessing = typeof import('../../../src/image-embedding/decode/preprocessor.js');
type Kernels = typeof import('../../../src/image-embedding/kernels/kernels.js');
type Tensors = typeof import('../../../src/image-embedding/inference/tensors.js');

const NONE = new Float32Array(0);

async function ourDecode({ spec, dist }: Setup): Promise<(path: string) => Promise<Float32Array>> {
  const { createPreprocessor } = (await import(
    new URL('image-embedding/decode/preprocessor.js', dist).href
  )) as Preprocessing;
  const { loadKernels } = (await import(new URL('image-embedding/kernels/kernels.js', dist).href)) as Kernels;
  await loadKernels();
  const { TensorInput } = (await import(new URL('image-embedding/inference/tensors.js', dist).href)) as Tensors;
  const preprocessor = createPreprocessor(spec.preprocess, 'fast');
  const input = new TensorInput({ name: '', type: 'float32', batch: undefined, ...spec.preprocess.output }, spec);
  return async (path) => input.write([await preprocessor.decode(await readFile(path))], 1) as Float32Array;
}

async function inference(setup: Setup, batch: number): Promise<Contender> {
  const session = await loadSession(setup, ONE_THREAD);
  const { width, height } = setup.spec.preprocess.output;
  const planes = new Float32Array(batch * 3 * width * height).map((_, index) => ((index * 7919) % 256) / 255);
  return {
    lanes: 1,
    batch,
    async embed(paths) {
      await infer(setup, session, planes.subarray(0, paths.length * 3 * width * height), paths.length);
      return paths.map(() => NONE);
    },
  };
}

export const contenders: Contenders = {
  /** The very pixels that the pool makes, by the same steps in sharp. */
  async decode(setup) {
    const decode = await ourDecode(setup);
    return { lanes: 2, batch: 1, embed: async ([path]) => [(await decode(path as string)).subarray(0, 0)] };
  },
  /** What the loop does of an image: further from what models were trained with. */
  async plainDecode(setup) {
    sharp.cache(false);
    return {
      lanes: 2,
      batch: 1,
      embed: async ([path]) => [(await readPlanes(setup, path as string)).subarray(0, 0)],
    };
  },
  infer1: (setup) => inference(setup, 1),
  infer8: (setup) => inference(setup, 8),
  infer16: (setup) => inference(setup, 16),
  /** Both in one process, one image after another: what a pool adds to it is its latency. */
  async both(setup) {
    const decode = await ourDecode(setup);
    const session = await loadSession(setup, ONE_THREAD);
    return {
      lanes: 1,
      batch: 1,
      embed: async ([path]) => (await infer(setup, session, await decode(path as string), 1)).map(normalize),
    };
  },
};
