/** The routes of the search page: the page, its queries, and the pictures that it shows, which are those of the index and no others. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import * as v from 'valibot';
import { encodePath, pathOfFileUrl } from '../../image-embedding/internal.js';
import { type ImageIndex, parseExpression, type QueryTerm } from '../../search/index.js';
import type { EmbedItem } from '../embed-items.js';
import { type Answer, jsonAnswer } from '../http/answer.js';
import type { ApiKeys } from '../http/keys.js';
import { Refusal } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import { openaiError } from '../protocols/openai.js';
import type { Protocol } from '../protocols/route.js';
import type { EmbeddingService } from '../service.js';
import { pageAnswer } from '../ui/page.js';
import { Sessions } from '../ui/sessions.js';
import { ThumbnailMaker } from './thumbnail-maker.js';

const MAX_TERMS = 16;
const MAX_HITS = 500;
const SHOWN = 48;
const MAX_TEXT = 2_000;

const SearchRequest = v.strictObject({
  /** As it is typed: `cat - dog`. */
  query: v.optional(v.pipe(v.string(), v.maxLength(MAX_TEXT))),
  /** Pictures: of the index by their `id`, or as data URLs. */
  terms: v.optional(
    v.pipe(
      v.array(
        v.union([
          v.strictObject({ weight: v.optional(v.number(), 1), id: v.string() }),
          v.strictObject({ weight: v.optional(v.number(), 1), picture: v.string() }),
        ]),
      ),
      v.maxLength(MAX_TERMS),
    ),
    [],
  ),
  limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_HITS)), SHOWN),
  minScore: v.optional(v.number()),
  after: v.optional(v.string()),
  before: v.optional(v.string()),
  camera: v.optional(v.string()),
});

const SearchResponse = v.object({
  hits: v.array(v.looseObject({ id: v.string(), name: v.string(), score: v.number(), isFile: v.boolean() })),
});

/** The search page of a server: a protocol of its own, and what it has started. */
export interface SearchPage {
  readonly protocol: Protocol;
  close(): Promise<void>;
}

/**
 * Makes the search page.
 *
 * @param index What is searched; it stays the caller's.
 */
export function createSearchPage(service: EmbeddingService, keys: ApiKeys, index: ImageIndex): SearchPage {
  const sessions = new Sessions();
  const thumbnails = new ThumbnailMaker();
  /** An `img` can send no key: a session's cookie stands for it. */
  const requireKnown = (request: ServeRequest): void => {
    const isKnown = sessions.has(request.header('cookie')) || keys.allows((name) => request.header(name));
    if (keys.isRequired && !isKnown) {
      throw new Refusal('unauthorized', 'A valid API key is needed', { code: 'invalid_api_key' });
    }
  };
  const page = { isPage: true, access: 'open' } as const;
  const protocol: Protocol = {
    name: 'search',
    refuse: openaiError,
    routes: [
      {
        ...page,
        path: '/search',
        method: 'GET',
        summary: 'The search page.',
        isWork: false,
        response: {},
        handle: () => pageAnswer('search-page', keys.isRequired, "'self' data: blob:"),
      },
      {
        ...page,
        path: '/search/session',
        method: 'POST',
        summary: 'Trades a key for a cookie that opens the pictures of the search page.',
        access: 'key',
        isWork: false,
        response: {},
        handle: () => ({ status: 204, headers: { 'set-cookie': sessions.open() }, body: '' }),
      },
      {
        ...page,
        path: '/search/query',
        method: 'POST',
        summary: 'Finds pictures of the index by words, pictures, or both.',
        isWork: true,
        request: { schema: SearchRequest, example: { query: 'cat - dog', limit: 10 } },
        response: { schema: SearchResponse },
        handle: async (request) => {
          requireKnown(request);
          return await answerQuery(request, service, index);
        },
      },
      {
        ...page,
        path: '/search/thumbnail',
        method: 'GET',
        summary: 'A picture of the index, small.',
        isWork: false,
        response: { contentType: 'image/jpeg' },
        handle: async (request) => {
          requireKnown(request);
          const { file, version } = await indexedFile(index, request.query.get('id'));
          const body = await thumbnails.make(file, version).catch((cause: unknown) => {
            throw new Refusal('route-unknown', 'This picture has no thumbnail', { cause });
          });
          return {
            status: 200,
            headers: { 'content-type': 'image/jpeg', 'cache-control': 'private, max-age=600' },
            body,
          };
        },
      },
      {
        ...page,
        path: '/search/original',
        method: 'GET',
        summary: 'A picture of the index, as it is.',
        isWork: false,
        response: { contentType: 'image/*' },
        handle: async (request) => {
          requireKnown(request);
          const { file } = await indexedFile(index, request.query.get('id'));
          return await originalAnswer(file);
        },
      },
    ],
  };
  return { protocol, close: () => thumbnails.close() };
}

async function answerQuery(request: ServeRequest, service: EmbeddingService, index: ImageIndex): Promise<Answer> {
  const { body, pictures } = await service.readJson(request, SearchRequest);
  const { query = '', terms, limit, minScore, after, before, camera } = body;
  const words = query.trim() === '' ? [] : await checkingQuery(() => parseExpression([query], () => false));
  const items: EmbedItem[] = [];
  const made: Promise<QueryTerm>[] = [];
  const weights: number[] = [];
  for (const { kind, text, weight } of words) {
    if (kind === 'url') {
      items.push(pictures.picture(text, 'query'));
      weights.push(weight);
    } else made.push(wordsTerm(service, request, text, weight));
  }
  for (const [at, term] of terms.entries()) {
    if ('id' in term) made.push(indexedTerm(index, term.id, term.weight, `terms[${at}].id`));
    else {
      items.push(pictures.picture(term.picture, `terms[${at}].picture`));
      weights.push(term.weight);
    }
  }
  const [known, embedded] = await Promise.all([Promise.all(made), service.embed(request, service.catalog.main, items)]);
  const all = [...known, ...embedded.map((vector, at) => ({ weight: weights[at] as number, vectors: [vector] }))];
  if (all.length === 0) throw new Refusal('empty', 'The query is empty', { param: 'query', code: 'empty' });
  const options = { limit, minScore, after, before, camera, signal: request.signal };
  const hits = await checkingQuery(() => index.search(all, options));
  return jsonAnswer({
    hits: hits.map(({ path: id, score, item }) => {
      const { width, height, taken, camera: by, lat, lon } = item;
      const isFile = !/^https?:/i.test(id);
      return { id, name: path.basename(id), score, isFile, width, height, taken, camera: by, lat, lon };
    }),
  });
}

/** Runs what checks a query, whose argument errors are the client's. */
async function checkingQuery<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new Refusal('invalid', error.message, { code: 'query_invalid', isQuoting: true, cause: error });
  }
}

async function wordsTerm(
  { pool, catalog, settings }: EmbeddingService,
  { signal }: ServeRequest,
  text: string,
  weight: number,
): Promise<QueryTerm> {
  const { source } = catalog.main;
  const call = { signal, timeoutMs: settings.timeoutMs, ...(source === undefined ? {} : { model: source }) };
  return { weight, vectors: await pool.textVectors(text, call) };
}

async function indexedTerm(index: ImageIndex, id: string, weight: number, param: string): Promise<QueryTerm> {
  const vector = await index.vector(id);
  if (vector === undefined) throw new Refusal('invalid', `${param}: the index has no such picture`, { param });
  return { weight, vectors: [vector] };
}

/**
 * The file of a picture of the index. A name that the index does not have opens nothing, nor does a file that is no longer what was indexed: a link
 * may have been put in its place.
 */
async function indexedFile(index: ImageIndex, id: string | null): Promise<{ file: string; version: string }> {
  const missing = new Refusal('route-unknown', 'The index has no such picture');
  const item = id === null ? undefined : index.get(id);
  if (id === null || item === undefined || item.error !== undefined || /^https?:/i.test(id)) throw missing;
  const file = pathOfFileUrl(id) ?? id;
  const found = await stat(encodePath(file)).catch(() => undefined);
  if (found === undefined || !found.isFile()) throw missing;
  const hasChanged = item.size !== undefined && (found.size !== item.size || found.mtimeMs !== item.mtime);
  if (hasChanged) throw new Refusal('route-unknown', 'The picture has changed since it was indexed');
  return { file, version: `${found.size} ${found.mtimeMs}` };
}

/** What files of pictures begin with. */
const TYPES: readonly (readonly [type: string, start: RegExp])[] = [
  ['image/jpeg', /^\xff\xd8\xff/],
  ['image/png', /^\x89PNG/],
  ['image/gif', /^GIF8/],
  ['image/webp', /^RIFF[\s\S]{4}WEBP/],
  ['image/avif', /^[\s\S]{4}ftypavi[fs]/],
  ['image/tiff', /^(?:II\*\0|MM\0\*)/],
];

async function originalAnswer(file: string): Promise<Answer> {
  const handle = await open(encodePath(file), 'r');
  const head = Buffer.alloc(16);
  await handle.read(head, 0, head.length, 0).finally(() => handle.close());
  const start = head.toString('latin1');
  const [type] = TYPES.find(([, begins]) => begins.test(start)) ?? [];
  if (type === undefined) throw new Refusal('route-unknown', 'This file is no picture');
  const body = Readable.toWeb(createReadStream(encodePath(file))) as ReadableStream<Uint8Array>;
  return {
    status: 200,
    headers: { 'content-type': type, 'content-security-policy': "default-src 'none'", 'cache-control': 'private' },
    body,
  };
}
