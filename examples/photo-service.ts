/**
 * A photo search service: it indexes a folder when it starts, and finds photographs by words and by pictures.
 *
 * - `GET /search?words=cat` and `POST /search` with the bytes of a picture answer with paths and scores.
 * - Back-pressure: `refuseEarly` refuses a search that can't be answered in time, with 429 and `Retry-After`.
 * - SIGTERM answers what was accepted, then closes the server, the index and the pool in this order.
 *
 *     PORT=8080 npm run example examples/photo-service.ts examples/photos
 *     curl 'http://127.0.0.1:8080/search?words=cat'
 *
 * In a project that has millrace, onnxruntime-node and sharp: `PORT=8080 npx tsx photo-service.ts <folder>`.
 */
import { readdir } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createImageEmbeddingPool, identifyModel, isMillraceError } from 'millrace/image-embedding';
import { closeOnSignal } from 'millrace/pool';
import { createIndex, type ImageIndex, openIndex, updateIndex } from 'millrace/search';

const { PORT = '8080', HOST = '127.0.0.1' } = process.env;
const [folder = 'examples/photos', indexFolder = path.join(folder, '.millrace-index')] = process.argv.slice(2);

const pool = createImageEmbeddingPool({
  workers: { max: 2 },
  timeoutMs: 10_000,
  refuseEarly: true,
  limits: { maxBytes: 20_000_000 },
});

/** The index of the last start, or a new one. It knows its model, and refuses another one's vectors. */
async function openOrCreate(): Promise<ImageIndex> {
  const model = await identifyModel(await pool.describe(), { preprocess: 'fast', normalize: true });
  try {
    return await openIndex(indexFolder, { writable: true, model });
  } catch (error) {
    if (!isMillraceError(error, 'ERR_INDEX_NOT_FOUND')) throw error;
    return await createIndex(indexFolder, { dimension: model.dimensions, model });
  }
}

const index = await openOrCreate();
const names = (await readdir(folder)).filter((name) => /\.(jpe?g|png|webp)$/i.test(name));
const files = names.map((name) => path.join(folder, name));
let count = 0;
for await (const { embedded, failure } of updateIndex(index, pool, files, { roots: [folder] })) {
  if (failure !== undefined) console.error(`${failure.path}: ${failure.error.message}`);
  count = embedded;
}
console.log(`${index.size} photographs, ${count} of them embedded now`);

/** The vectors that a request asks for: those of its words, or that of the picture in its body. */
async function readQuery(
  request: IncomingMessage,
  words: string | null,
  signal: AbortSignal,
): Promise<readonly Float32Array[]> {
  if (request.method === 'GET' && words !== null) return await pool.textVectors(words, { signal });
  // The body goes into the pool as it comes: no more than `maxBytes` of it are read.
  return [await pool.embedImageBytes(request, { signal })];
}

async function search(request: IncomingMessage, response: ServerResponse, words: string | null): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('the client has gone away')));
  const vectors = await readQuery(request, words, gone.signal);
  const hits = await index.search([{ vectors }], { limit: 5, signal: gone.signal });
  sendJson(response, 200, { hits: hits.map(({ path: file, score }) => ({ file: path.basename(file), score })) });
}

function sendJson(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(`${JSON.stringify(body)}\n`);
}

function fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.destroyed || response.headersSent) return;
  // After a body that was not read to its end, the connection can't carry another request.
  if (!request.complete) response.setHeader('connection', 'close');
  if (isMillraceError(error, 'ERR_POOL_OVERLOADED')) {
    const seconds = Math.ceil((error.retryAfterMs ?? 1_000) / 1_000);
    sendJson(response, 429, { error: 'too many requests' }, { 'retry-after': String(seconds) });
  } else if (isMillraceError(error) && error.fault === 'caller') {
    sendJson(response, 422, { error: error.message, code: error.code });
  } else {
    console.error(error);
    sendJson(response, 500, { error: 'internal error' });
  }
}

const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
  const [route, query] = (request.url ?? '/').split('?', 2);
  if (route !== '/search') return sendJson(response, 404, { error: `no such route: ${route}` });
  const words = new URLSearchParams(query).get('words');
  if (request.method !== 'POST' && words === null) return sendJson(response, 400, { error: 'words are missing' });
  search(request, response, words).catch((error: unknown) => fail(request, response, error));
});

closeOnSignal([server, () => index.close(), pool]);
server.listen(Number(PORT), HOST, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on http://${address}:${port}`);
});
