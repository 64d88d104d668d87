import type { ExpressionTerm } from './expression.js';
import type { QueryTerm } from './query.js';

/** What makes vectors of the terms of a query: an `ImageEmbeddingPool` is one. */
export interface QueryEmbedder {
  embedImage(path: string): Promise<Float32Array>;
  embedImageUrl(url: string): Promise<Float32Array>;
  /** The vectors that stand for words; of several, the best match counts. */
  textVectors(text: string): Promise<readonly Float32Array[]>;
}

/**
 * Makes a query for {@link ImageIndex.search} of the terms of an expression.
 *
 * @param terms What {@link parseExpression} has found.
 * @param embedder What makes their vectors.
 * @throws What is wrong with a picture or with the words.
 */
export async function embedExpression(
  terms: readonly ExpressionTerm[],
  embedder: QueryEmbedder,
): Promise<readonly QueryTerm[]> {
  return await Promise.all(
    terms.map(async ({ weight, kind, text }) => ({ weight, vectors: await vectorsOf(kind, text, embedder) })),
  );
}

async function vectorsOf(
  kind: ExpressionTerm['kind'],
  text: string,
  embedder: QueryEmbedder,
): Promise<readonly Float32Array[]> {
  if (kind === 'words') return await embedder.textVectors(text);
  return [kind === 'url' ? await embedder.embedImageUrl(text) : await embedder.embedImage(text)];
}
