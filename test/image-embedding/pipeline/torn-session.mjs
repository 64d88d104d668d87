/** A model that fails images of a certain name with an error of a class of its own. */
import { modelOf } from './session-model.mjs';

class TapeError extends Error {
  code = 'E_TAPE';
  fault = 'system';
  reel = 7;
}

export async function createModel(options, context) {
  const model = await modelOf(options, context, 1, () => [1]);
  const open = model.batchEmbedImages.bind(model);
  model.batchEmbedImages = async (input, call) => {
    if (!input.input.includes('torn')) return open(input, call);
    const dust = Object.assign(new Error('dust'), { code: 'E_DUST' });
    throw new TapeError('torn', { cause: new TypeError('bad', { cause: dust }) });
  };
  return model;
}
