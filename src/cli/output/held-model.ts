/** Whether a run may go on behind the vectors that an output holds: only if they are of the same model. */
import type { ModelIdentity } from '../../image-embedding/index.js';
import { UsageError } from '../exit-codes.js';
import type { HeldOutput, HeldVector } from './resume.js';

/** From which cosine on two vectors are the same picture's by the same model: other machines and versions round otherwise, other models do not come near. */
const SAME_COSINE = 0.9995;
const SAME_LENGTH = 0.01;

/** Whether vectors of both can be compared. Names and revisions don't count: a model is what its files hold. */
export function isSameModel(one: ModelIdentity, other: ModelIdentity): boolean {
  return (
    one.digest === other.digest &&
    one.preprocess === other.preprocess &&
    one.normalized === other.normalized &&
    one.dimensions === other.dimensions
  );
}

/** A model in a few words. */
export function describeModel({ name, revision, digest, dtype, preprocess, normalized }: ModelIdentity): string {
  const at = revision === undefined ? '' : `@${revision.slice(0, 12)}`;
  const how = [dtype, `preprocess ${preprocess}`, normalized ? 'normalized' : 'not normalized', `digest ${digest}`];
  return `${name}${at} (${how.filter((each) => each !== undefined).join(', ')})`;
}

/**
 * Refuses to mix vectors of two models in one output. Where the output does not say its model, one of the pictures that it holds is embedded again
 * and compared.
 *
 * @param embed Embeds a held picture by its name.
 * @throws UsageError when the output is of another model, or that can't be told.
 */
export async function requireHeldModel(
  out: string,
  held: HeldOutput,
  model: ModelIdentity,
  embed: (name: string) => Promise<Float32Array>,
): Promise<void> {
  if (held.dimension === undefined) return;
  if (held.dimension !== model.dimensions) {
    throw new UsageError(
      `Cannot resume: the output holds vectors of ${held.dimension} dimensions, this model gives ${model.dimensions}`,
    );
  }
  if (held.model !== undefined) {
    if (isSameModel(held.model, model)) return;
    throw new UsageError(
      `Cannot resume ${out}: it holds vectors of ${describeModel(held.model)}, and this run's are of ${describeModel(model)}; give the model and options of that run, or another output`,
    );
  }
  const verdicts: boolean[] = [];
  for (const sample of held.samples) {
    const embedding = await embed(sample.path).catch(() => undefined);
    if (embedding === undefined) continue;
    if (isSameVector(sample, embedding)) return;
    // One picture may have been edited since.
    verdicts.push(false);
    if (verdicts.length === 2) break;
  }
  const start = `Cannot resume ${out}: it does not say which model its vectors are of, and`;
  throw new UsageError(
    verdicts.length > 0
      ? `${start} this one (${describeModel(model)}) gives others for the same pictures; give the model and options of that run, or another output`
      : `${start} none of its first pictures can be embedded again to compare; write to another output`,
  );
}

function isSameVector({ embedding: one }: HeldVector, other: Float32Array): boolean {
  let dot = 0;
  let oneLength = 0;
  let otherLength = 0;
  for (let index = 0; index < one.length; index++) {
    const [a, b] = [one[index] as number, other[index] as number];
    dot += a * b;
    oneLength += a * a;
    otherLength += b * b;
  }
  const lengths = Math.sqrt(oneLength * otherLength);
  return dot >= SAME_COSINE * lengths && Math.abs(oneLength / otherLength - 1) <= 2 * SAME_LENGTH;
}
