/** sharp and onnxruntime in the caller's process. */
import type { Contender, Contenders, Setup } from '../contender.js';
import { infer, loadSession, readPlanes } from '../plain.js';

async function loop(setup: Setup, lanes: number): Promise<Contender> {
  const session = await loadSession(setup);
  return {
    lanes,
    batch: 1,
    embed: async ([path]) => infer(setup, session, await readPlanes(setup, path as string), 1),
  };
}

export const contenders: Contenders = { one: (setup) => loop(setup, 1), eight: (setup) => loop(setup, 8) };
