import { stat } from 'node:fs/promises';
import type { ImageEmbeddingPool, ModelIdentity } from '../../image-embedding/index.js';
import { encodePath, pathOfFileUrl } from '../../image-embedding/internal.js';
import {
  type ExpressionTerm,
  embedExpression,
  type ImageIndex,
  parseExpression,
  type QueryTerm,
  type SearchHit,
} from '../../search/index.js';
import { describeModel, isSameModel } from '../../search/internal.js';
import { EXIT, type ExitCode, errorMessage, modelError, UsageError } from '../errors.js';
import { writeGallery } from '../output/gallery.js';
import { renderTable } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import { copyHits } from './copy-hits.js';
import {
  createIndexPool,
  identifyPool,
  indexError,
  indexToSearch,
  openIndexFolder,
  shownPath,
  sourceOf,
} from './index-files.js';
import { type ModelChoice, modelSource } from './options.js';

/** The options of `millrace search`. */
export interface SearchCommandOptions extends ModelChoice {
  readonly index?: string;
  readonly limit: number;
  readonly minScore?: number;
  readonly after?: string;
  readonly before?: string;
  readonly near?: { readonly lat: number; readonly lon: number; readonly km?: number };
  readonly camera?: string;
  readonly folder?: string;
  readonly template?: string;
  readonly paths?: boolean;
  readonly null?: boolean;
  readonly json?: boolean;
  readonly html?: string;
  readonly copyTo?: string;
  readonly allowPrivateUrls?: boolean;
}

/** `millrace search`: the pictures of an index that match words, a picture, or an expression of both. */
export async function searchCommand(
  context: CommandContext,
  args: readonly string[],
  options: SearchCommandOptions,
): Promise<ExitCode> {
  const folder = await indexToSearch(options.index);
  const terms = await parseExpression(args, isFile).catch((error: unknown) => {
    throw new UsageError(errorMessage(error), { cause: error });
  });
  const index = await openIndexFolder(folder);
  try {
    const query = await queryOf(index, terms, options);
    const hits = await find(index, query, options);
    if (options.copyTo !== undefined) await copyHits(context, hits, options.copyTo);
    await show(context, args.join(' '), hits, options);
    return EXIT.ok;
  } finally {
    await index.close();
  }
}

/** Makes the query by the model of the index; a picture that is in the index already needs no model. */
async function queryOf(
  index: ImageIndex,
  terms: readonly ExpressionTerm[],
  options: SearchCommandOptions,
): Promise<readonly QueryTerm[]> {
  const { preprocess = 'fast' } = index.model ?? {};
  const given = await modelSource(options);
  let pool: ImageEmbeddingPool | undefined;
  const model = (): ImageEmbeddingPool => {
    pool ??= createIndexPool({
      model: given ?? sourceOf(index),
      workers: 1,
      preprocess,
      allowPrivateUrls: options.allowPrivateUrls,
    });
    return pool;
  };
  try {
    if (given !== undefined) requireModelOf(index, await identifyPool(model(), options.model, preprocess));
    return await embedExpression(terms, {
      embedImage: (file) => model().embedImage(pathOfFileUrl(file) ?? file),
      embedImageUrl: (url) => model().embedImageUrl(url),
      textVectors: (text) => model().textVectors(options.template?.replaceAll('{}', text) ?? text),
    });
  } catch (error) {
    throw modelError(error);
  } finally {
    await pool?.destroy(new Error('the query is there'));
  }
}

/** @throws UsageError when the index has vectors of another model. */
function requireModelOf({ model, folder }: ImageIndex, given: ModelIdentity): void {
  if (model === undefined || isSameModel(model, given)) return;
  throw new UsageError(
    `Cannot search ${folder}: its vectors are of ${describeModel(model)}, --model is ${describeModel(given)}`,
  );
}

async function find(
  index: ImageIndex,
  query: readonly QueryTerm[],
  options: SearchCommandOptions,
): Promise<SearchHit[]> {
  const { limit, minScore, after, before, near, camera, folder } = options;
  try {
    return await index.search(query, { limit, minScore, after, before, near, camera, folder });
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) {
      throw new UsageError(errorMessage(error), { cause: error });
    }
    throw indexError(error, index.folder);
  }
}

async function show(
  context: CommandContext,
  title: string,
  hits: readonly SearchHit[],
  options: SearchCommandOptions,
): Promise<void> {
  const { stdout, stderr } = context;
  if (options.html !== undefined) {
    await writeGallery(context, options.html, {
      title,
      groups: [{ pictures: hits.map(({ path, score, item }) => ({ path, item, note: score.toFixed(3) })) }],
    });
    return;
  }
  if (options.json) {
    stdout.write(
      `${JSON.stringify(
        hits.map(({ score, item }) => ({ score, ...item })),
        undefined,
        2,
      )}\n`,
    );
  } else if (options.paths || options.null) {
    const end = options.null ? '\0' : '\n';
    stdout.write(hits.map(({ path }) => `${path}${end}`).join(''));
  } else if (hits.length === 0) {
    stderr.write('no picture matches\n');
  } else {
    const columns = [{ title: 'score', align: 'right' }, { title: 'picture' }] as const;
    const rows = hits.map(({ path, score }) => [score.toFixed(3), shownPath(path)]);
    stdout.write(renderTable(columns, rows, stdout.columns));
  }
}

async function isFile(text: string): Promise<boolean> {
  const found = await stat(encodePath(pathOfFileUrl(text) ?? text)).catch(() => undefined);
  return found?.isFile() ?? false;
}
