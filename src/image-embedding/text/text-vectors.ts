/** The vectors that stand for a text, by whatever a model has for it. */
import type { ModelSpec } from '../model/model-spec.js';
import { ClassifierWords } from './classifier-words.js';
import { ModelNoTextError } from './text-errors.js';

const words = new Map<string, Promise<ClassifierWords | undefined>>();

/**
 * The vectors of a noun, by the classifier of a model that has no text tower.
 *
 * @throws ModelNoTextError When it has no classifier of known classes; WordUnknownError when the noun is none of its words.
 */
export async function wordVectors(spec: ModelSpec, text: string): Promise<Float32Array[]> {
  let loading = words.get(spec.file);
  if (loading === undefined) {
    loading = ClassifierWords.load(spec.file);
    words.set(spec.file, loading);
  }
  const known = await loading;
  if (known === undefined) {
    throw new ModelNoTextError(
      `Cannot embed text: ${spec.name} has no text tower; search by a picture, or by a model such as CLIP or SigLIP`,
    );
  }
  return known.vectorsOf(text);
}
