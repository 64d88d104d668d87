/** The models that benchmarks know by a short name. */
import path from 'node:path';
import { benchFile } from '../harness/prepare.js';
import { makeVit } from '../make-vit.js';

/** The folder of `mobilenet` or `vit`, which is made where it is missing; anything else is a folder already. */
export async function findModel(name: string): Promise<string> {
  if (name === 'vit') return makeVit();
  return name === 'mobilenet' ? path.join(path.dirname(benchFile('.')), 'models/mobilenet-v1-0.25') : name;
}
