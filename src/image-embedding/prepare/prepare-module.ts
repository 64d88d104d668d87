/** The model module of the process that prepares a model: see `prepare-model.ts`. */
import path from 'node:path';
import type { ModelOf, UnaryOperation } from '../../worker/index.js';
import { EmbeddingSession, PREPARED_GRAPH } from '../inference/session.js';
import type { ModelSpec } from '../model/model-spec.js';

/** How far a prepared model may be from the model itself, of the largest number that it gives: other kernels round in another order. */
const TOLERANCE = 1e-3;

/** The model to prepare, and the folder for the result. */
export interface PrepareInput {
  readonly spec: ModelSpec;
  readonly folder: string;
}

/** What the process can do. */
export type PrepareOperations = { readonly prepare: UnaryOperation<PrepareInput, void> };

export default function createPreparer(): ModelOf<PrepareOperations> {
  return { prepare };
}

async function prepare({ spec, folder }: PrepareInput): Promise<void> {
  await EmbeddingSession.optimize(spec.file, folder);
  const expected = await runOnce(spec, 'all');
  const actual = await runOnce({ ...spec, file: path.join(folder, PREPARED_GRAPH) }, 'disabled');
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const isSame = expected.every((value, index) => Math.abs(value - (actual[index] ?? Number.NaN)) <= TOLERANCE * scale);
  if (!isSame) throw new Error('the prepared model gives other numbers than the model itself');
}

/** The embedding of a picture of noise. */
async function runOnce(spec: ModelSpec, graphOptimizationLevel: 'all' | 'disabled'): Promise<Float32Array> {
  const session = await EmbeddingSession.load(spec, { graphOptimizationLevel });
  const { width, height } = spec.preprocess.output;
  const noise = (index: number) => (index * 7919) % 256;
  const bytes = Uint8Array.from({ length: 3 * width * height }, (_, index) => noise(index));
  const [vector] = await session.run([bytes]);
  await session.dispose();
  return vector ?? new Float32Array();
}
