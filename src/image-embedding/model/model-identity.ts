/** Which space a vector is of: what tells a file of vectors by one model from a file by another. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import type { ModelDescription } from '../operations.js';
import type { PreprocessMode } from '../preprocessor.js';
import { weightFiles } from './external-weights.js';
import { dtypeOfFile, type ModelDtype } from './model-folder.js';

/** What vectors were made with. Two of the same digest, mode, scaling and length can be compared, whatever the model is called. */
export interface ModelIdentity {
  readonly name: string;
  /** The commit of a model from the hub. */
  readonly revision?: string | undefined;
  /** Of the model's weights and of what is done to an image before and after it: 32 hex digits of a SHA-256. */
  readonly digest: string;
  /** The number format, where the name of the file says it. */
  readonly dtype?: ModelDtype | undefined;
  readonly preprocess: PreprocessMode;
  /** Whether vectors are scaled to length 1. */
  readonly normalized: boolean;
  /** The length of a vector. */
  readonly dimensions: number;
}

/**
 * Says which space vectors are of: what an index needs to refuse those of another model. Reads the model's files, if the hub's cache does not name
 * them by their content.
 *
 * @param model What {@link ImageEmbeddingPool.describe} says of it.
 * @param options How the pool prepares pictures, and whether its vectors are scaled to length 1.
 */
export async function identifyModel(
  model: ModelDescription,
  { preprocess, normalize }: { readonly preprocess: PreprocessMode; readonly normalize: boolean },
): Promise<ModelIdentity> {
  const files = [model.file, ...(await weightFiles(model.file))];
  const contents = await Promise.all(files.map(contentDigest));
  const { name, pooling } = model.output;
  const what = { contents, preprocess: model.preprocess, channels: model.channels, output: { name, pooling } };
  const [, revision] = /[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]/.exec(model.file) ?? [];
  const dtype = dtypeOfFile(model.file);
  return {
    name: model.name,
    ...(revision === undefined ? {} : { revision }),
    digest: createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 32),
    ...(dtype === undefined ? {} : { dtype }),
    preprocess,
    normalized: normalize,
    dimensions: model.dimension,
  };
}

/** The SHA-256 of a file. A blob of the hub's cache is called by it. */
async function contentDigest(file: string): Promise<string> {
  const name = path.basename(await realpath(file));
  if (/^[0-9a-f]{64}$/.test(name)) return name;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
