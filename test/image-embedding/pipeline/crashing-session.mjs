/** A model whose process is ended by whoever opens a picture with a certain name, or whose run hangs the next time when a file says so. */
import { existsSync, rmSync } from 'node:fs';
import { modelOf, sleep } from './session-model.mjs';

const TEN_MINUTES = 600_000;

export async function createModel({ stuckFile, ...options }, context) {
  const model = await modelOf(options, context, 1, (count) => {
    if (stuckFile !== undefined && existsSync(stuckFile)) {
      rmSync(stuckFile);
      sleep(TEN_MINUTES);
    }
    return [count];
  });
  const openers = ['embedImage', 'batchEmbedImages'];
  for (const name of openers) {
    const open = model[name].bind(model);
    model[name] = (input, call) => {
      if (JSON.stringify(input).includes('killer')) process.kill(process.pid, 'SIGSEGV');
      return open(input, call);
    };
  }
  return model;
}
