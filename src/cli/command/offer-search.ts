/** What the demo leaves behind: an index of what it embedded, and the command that searches it. */
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ModelIdentity } from '../../image-embedding/index.js';
import { createIndex, type ImageEmbedder, type ImageIndex, openIndex, updateIndex } from '../../search/index.js';
import { PACKAGE_ROOT } from './context.js';
import { DEFAULT_INDEX, sourceOfChoice } from './index-files.js';
import type { ModelChoice } from './options.js';

/** A photograph that the demo has embedded. */
interface Embedded {
  readonly path: string;
  readonly embedding: Float32Array;
  readonly model?: ModelIdentity | undefined;
}

/**
 * Puts photographs into `millrace.idx` in the working folder, without a second inference, unless there is an index of other pictures.
 *
 * @returns A line that says how to search them; empty where they can't be searched.
 */
export async function offerSearch(photos: readonly Embedded[], choice: ModelChoice): Promise<string> {
  const { model } = photos[0] as Embedded;
  if (model === undefined) return '';
  const vectors = new Map(photos.map(({ path: file, embedding }) => [path.resolve(file), embedding]));
  let index: ImageIndex | undefined;
  try {
    index = await openOwn(vectors, model, choice);
    if (index === undefined) return '';
    for await (const progress of updateIndex(index, known(vectors), vectors.keys())) {
      if (progress.failure !== undefined) return '';
    }
  } catch {
    // The demo is complete without: the folder may not be writable.
    return '';
  } finally {
    await index?.close();
  }
  const command = (await isRepository()) ? 'npm run millrace -- search cat' : 'npx millrace search cat';
  return `\ntry: ${command}\n`;
}

/** The index of an earlier demo, or a new one; undefined where there is one of other pictures. */
async function openOwn(
  vectors: ReadonlyMap<string, Float32Array>,
  model: ModelIdentity,
  choice: ModelChoice,
): Promise<ImageIndex | undefined> {
  try {
    const index = await openIndex(DEFAULT_INDEX, { writable: true, model });
    if ([...index.items()].every((item) => vectors.has(item.path))) return index;
    await index.close();
    return undefined;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_INDEX_NOT_FOUND') throw error;
    const source = await sourceOfChoice(choice);
    return await createIndex(DEFAULT_INDEX, { dimension: model.dimensions, model, source });
  }
}

/** Answers with vectors that are there. */
function known(vectors: ReadonlyMap<string, Float32Array>): ImageEmbedder {
  return {
    async *embedImages(source) {
      let index = 0;
      for await (const input of source) {
        const embedding = vectors.get(String(input));
        if (embedding !== undefined) yield { index: index++, input, embedding };
      }
    },
  } as ImageEmbedder;
}

/** Whether the working folder is the package's own, where its scripts are. */
async function isRepository(): Promise<boolean> {
  return (await realpath(process.cwd())) === (await realpath(fileURLToPath(PACKAGE_ROOT)));
}
