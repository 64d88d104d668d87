/**
 * Writes a ViT-B/32 of random weights in the Hugging Face layout, 350 MB: `tsx bench/make-vit.ts [folder]`. It costs what CLIP's image encoder
 * costs, to load and to run; its vectors mean nothing.
 */
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildVisionTransformer } from '../scripts/onnx/vision-transformer.js';

const CONFIG = {
  model_type: 'clip_vision_model',
  hidden_size: 768,
  image_size: 224,
  patch_size: 32,
  projection_dim: 512,
};

const PREPROCESSOR = {
  image_processor_type: 'CLIPImageProcessor',
  do_resize: true,
  size: { shortest_edge: 224 },
  resample: 3,
  do_center_crop: true,
  crop_size: { height: 224, width: 224 },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};

const DEFAULT_FOLDER = fileURLToPath(new URL('../.cache/vit-b-32', import.meta.url));

/** Writes the model, unless it is there. Answers its folder. */
export async function makeVit(folder: string = DEFAULT_FOLDER): Promise<string> {
  const file = path.join(folder, 'onnx', 'vision_model.onnx');
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(CONFIG));
  await writeFile(path.join(folder, 'preprocessor_config.json'), JSON.stringify(PREPROCESSOR));
  const isThere = await stat(file).then(
    ({ size }) => size > 300_000_000,
    () => false,
  );
  if (isThere) return folder;
  const bytes = buildVisionTransformer({
    family: 'clip',
    imageSize: 224,
    patchSize: 32,
    hiddenSize: 768,
    heads: 12,
    layers: 12,
    mlpSize: 3_072,
    projectionSize: 512,
    seed: 32,
  });
  await writeFile(`${file}.tmp`, bytes);
  await rename(`${file}.tmp`, file);
  return folder;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${await makeVit(process.argv[2])}\n`);
}
