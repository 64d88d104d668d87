/** transformers.js, in batches of 8, which is faster there than one at a time. */
import {
  AutoImageProcessor,
  AutoModel,
  CLIPVisionModelWithProjection,
  env,
  RawImage,
  type Tensor,
} from '@huggingface/transformers';
import type { Contender, Contenders, Setup } from '../contender.js';
import { normalize } from '../plain.js';

env.allowRemoteModels = false;

async function load({ folder, spec }: Setup, batch: number): Promise<Contender> {
  const Model = spec.file.endsWith('vision_model.onnx') ? CLIPVisionModelWithProjection : AutoModel;
  const model = await Model.from_pretrained(folder, { dtype: 'fp32', device: 'cpu', local_files_only: true });
  const processor = await AutoImageProcessor.from_pretrained(folder, { local_files_only: true });
  return {
    lanes: 1,
    batch,
    async embed(paths) {
      const images = await Promise.all(paths.map((path) => RawImage.read(path)));
      const outputs = (await model(await processor(images))) as Record<string, Tensor>;
      const output = (
        spec.output?.name === undefined ? Object.values(outputs)[0] : outputs[spec.output.name]
      ) as Tensor;
      const data = output.data as Float32Array;
      const length = data.length / paths.length;
      return paths.map((_, row) => normalize(data.slice(row * length, (row + 1) * length)));
    },
    close: () => model.dispose(),
  };
}

export const contenders: Contenders = { one: (setup) => load(setup, 1), eight: (setup) => load(setup, 8) };
