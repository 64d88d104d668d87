/** Which vectors can be compared: only those of one model, prepared in one way. */
import type { ModelIdentity } from '../image-embedding/index.js';

/** Whether vectors of both can be compared. Names and revisions don't count: a model is what its files hold. */
export function isSameModel(one: ModelIdentity, other: ModelIdentity): boolean {
  return one.digest === other.digest && one.preprocess === other.preprocess && one.dimensions === other.dimensions;
}

/** A model in a few words. */
export function describeModel({ name, revision, digest, dtype, preprocess }: ModelIdentity): string {
  const at = revision === undefined ? '' : `@${revision.slice(0, 12)}`;
  const how = [dtype, `preprocess ${preprocess}`, `digest ${digest}`];
  return `${name}${at} (${how.filter((each) => each !== undefined).join(', ')})`;
}
