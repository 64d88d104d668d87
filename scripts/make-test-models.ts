/**
 * Writes small models of random weights, one of each family, in the Hugging Face layout: `tsx scripts/make-test-models.ts [folder]`.
 *
 * They are what the real ones are in everything but size and weights: the same files, inputs, outputs and preprocessing. The bytes are the same
 * on every run, so tests make them when they need them.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildVisionTransformer, type VisionFamily, type VisionTransformerConfig } from './onnx/vision-transformer.js';

export interface TestModel {
  readonly name: string;
  /** The file in `onnx/`. */
  readonly file: string;
  readonly graph: VisionTransformerConfig;
  readonly config: object;
  readonly preprocessor: object;
}

const SMALL = { patchSize: 8, hiddenSize: 32, heads: 2, layers: 2, mlpSize: 64 } as const;

const half = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
const clipColours = {
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};
const imagenetColours = { image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225] };

function graph(
  family: VisionFamily,
  seed: number,
  more: Partial<VisionTransformerConfig> = {},
): VisionTransformerConfig {
  return { family, imageSize: 32, seed, ...SMALL, ...more };
}

/** One model of each family, and three variants of ViT: fixed batch, half precision, bytes in. */
export const testModels: readonly TestModel[] = [
  {
    name: 'tiny-clip',
    file: 'vision_model.onnx',
    graph: graph('clip', 1, { projectionSize: 24 }),
    config: {
      model_type: 'clip',
      projection_dim: 24,
      vision_config: { hidden_size: 32, image_size: 32, patch_size: 8 },
    },
    preprocessor: {
      image_processor_type: 'CLIPImageProcessor',
      do_resize: true,
      size: { shortest_edge: 32 },
      resample: 3,
      do_center_crop: true,
      crop_size: { height: 32, width: 32 },
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: true,
      do_convert_rgb: true,
      ...clipColours,
    },
  },
  {
    name: 'tiny-siglip',
    file: 'vision_model.onnx',
    graph: graph('siglip', 2),
    config: { model_type: 'siglip', vision_config: { hidden_size: 32, image_size: 32, patch_size: 8 } },
    preprocessor: {
      image_processor_type: 'SiglipImageProcessor',
      do_resize: true,
      size: { height: 32, width: 32 },
      resample: 3,
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: true,
      ...half,
    },
  },
  {
    name: 'tiny-dinov2',
    file: 'model.onnx',
    graph: graph('dinov2', 3),
    config: { model_type: 'dinov2', hidden_size: 32, image_size: 32, patch_size: 8 },
    preprocessor: {
      image_processor_type: 'BitImageProcessor',
      do_resize: true,
      size: { shortest_edge: 40 },
      resample: 3,
      do_center_crop: true,
      crop_size: { height: 32, width: 32 },
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: true,
      ...imagenetColours,
    },
  },
  vit('tiny-vit', 'model.onnx', {}),
  vit('tiny-vit-batch-4', 'model.onnx', { batch: 4 }),
  vit('tiny-vit-fp16', 'model_fp16.onnx', { inputType: 'float16' }),
  vit('tiny-vit-uint8', 'model_uint8.onnx', { inputType: 'uint8' }),
];

function vit(name: string, file: string, more: Partial<VisionTransformerConfig>): TestModel {
  return {
    name,
    file,
    graph: graph('vit', 4, more),
    config: { model_type: 'vit', hidden_size: 32, image_size: 32, patch_size: 8 },
    preprocessor: {
      image_processor_type: 'ViTImageProcessor',
      do_resize: true,
      size: { height: 32, width: 32 },
      resample: 2,
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: true,
      ...half,
    },
  };
}

/** The files of one model by their path in its folder. */
export function testModelFiles(model: TestModel): ReadonlyMap<string, Uint8Array> {
  const json = (value: object) => new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`);
  return new Map([
    ['config.json', json(model.config)],
    ['preprocessor_config.json', json(model.preprocessor)],
    [`onnx/${model.file}`, buildVisionTransformer(model.graph)],
  ]);
}

/** Writes one model, by name, below a folder; answers the model's folder. */
export async function writeTestModel(name: string, below: string): Promise<string> {
  const model = testModels.find((each) => each.name === name);
  if (model === undefined) throw new Error(`There is no test model named ${name}`);
  const folder = path.join(below, name);
  await mkdir(path.join(folder, 'onnx'), { recursive: true });
  for (const [file, bytes] of testModelFiles(model)) await writeFile(path.join(folder, file), bytes);
  return folder;
}

async function main(): Promise<void> {
  const below = process.argv[2] ?? fileURLToPath(new URL('../.cache/test-models', import.meta.url));
  for (const { name } of testModels) process.stdout.write(`${await writeTestModel(name, below)}\n`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
