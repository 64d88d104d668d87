import { Piscina } from 'piscina';
import type { Setup } from '../contender.js';
import { infer, loadSession, ONE_THREAD, readPlanes } from '../plain.js';

const setup = Piscina.workerData as Setup;
const session = await loadSession(setup, ONE_THREAD);

export default async function embed(path: string): Promise<Float32Array> {
  const [vector] = await infer(setup, session, await readPlanes(setup, path), 1);
  return vector as Float32Array;
}
