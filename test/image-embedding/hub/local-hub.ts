/** An HTTP server that plays the Hugging Face hub, faults included. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a test wants to go wrong with the next answers for a file. */
export type Fault = 'cut' | 'stall' | 'busy' | 'damage' | 'longer' | 'ignore-range' | 'refuse';

export interface LocalHub extends AsyncDisposable {
  readonly endpoint: string;
  readonly commit: string;
  /** Every request: method, path and range. */
  readonly requests: string[];
  /** Tokens that were sent. */
  readonly tokens: Set<string>;
  /** Faults by file, used up one per request. */
  readonly faults: Map<string, Fault[]>;
  /** What the next requests are answered with, whatever they ask for; null for one that is answered as usual. */
  readonly answers: ({ readonly status: number; readonly headers?: Readonly<Record<string, string>> } | null)[];
  /** Sizes that the hub lists in place of the true ones. */
  readonly sizes: Map<string, number>;
  /** How the repository looks: a test may change it. */
  files: ReadonlyMap<string, Uint8Array>;
  close(): Promise<void>;
}

const isLarge = (path: string) => path.includes('.onnx');

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function oidOf(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

export async function startLocalHub(name: string, files: ReadonlyMap<string, Uint8Array>): Promise<LocalHub> {
  const commit = createHash('sha1')
    .update([...files.keys()].join())
    .digest('hex');
  const sockets = new Set<import('node:net').Socket>();
  const hub = {
    commit,
    requests: [] as string[],
    tokens: new Set<string>(),
    faults: new Map<string, Fault[]>(),
    answers: [] as LocalHub['answers'],
    sizes: new Map<string, number>(),
    files,
  };

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://hub');
    const { range, authorization } = request.headers;
    hub.requests.push(`${request.method} ${url.pathname}${range === undefined ? '' : ` ${range}`}`);
    if (authorization !== undefined) hub.tokens.add(authorization);
    const json = (status: number, value: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    const given = hub.answers.shift();
    if (given) return void response.writeHead(given.status, given.headers).end('{"error":"no"}');
    if (!url.pathname.includes(name)) return void json(404, { error: 'Repository not found' });
    const [, revision] = /^\/api\/models\/[^/]+\/[^/]+\/revision\/([^/]+)$/.exec(url.pathname) ?? [];
    if (revision !== undefined) {
      if (revision !== 'main' && revision !== 'v1') return void json(404, { error: 'Invalid rev id' });
      const lastModified = '2026-01-01T00:00:00.000Z';
      return void json(200, {
        _id: '1',
        id: name,
        sha: commit,
        private: false,
        gated: false,
        downloads: 0,
        likes: 0,
        lastModified,
      });
    }
    if (url.pathname === `/api/models/${name}/tree/${commit}`) {
      const entries = [...hub.files].map(([path, bytes]) => ({
        type: 'file',
        path,
        size: hub.sizes.get(path) ?? bytes.length,
        oid: isLarge(path) ? oidOf(Buffer.from(`pointer to ${path}`)) : oidOf(bytes),
        ...(isLarge(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
      }));
      return void json(200, [{ type: 'directory', path: 'onnx', size: 0, oid: commit }, ...entries]);
    }
    const [, path] = new RegExp(`^/${name}/resolve/${commit}/(.+)$`).exec(url.pathname) ?? [];
    const bytes = path === undefined ? undefined : hub.files.get(path);
    if (path === undefined || bytes === undefined) return void json(404, { error: 'Entry not found' });
    return void sendFile(response, bytes, range, hub.faults.get(path)?.shift());
  }

  const server: Server = createServer(answer);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return Object.assign(hub, {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close,
    [Symbol.asyncDispose]: close,
  });
}

function sendFile(
  response: ServerResponse,
  bytes: Uint8Array,
  range: string | undefined,
  fault: Fault | undefined,
): void {
  if (fault === 'busy') return void response.writeHead(503).end();
  if (fault === 'refuse') return void response.writeHead(403).end();
  const from = fault === 'ignore-range' ? 0 : Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
  let part = Buffer.from(bytes.subarray(from));
  if (fault === 'damage') part[part.length >> 1] = (part[part.length >> 1] as number) ^ 0xff;
  if (fault === 'longer') part = Buffer.concat([part, Buffer.from('more')]);
  const isPart = from > 0;
  response.writeHead(isPart ? 206 : 200, {
    'content-length': part.length,
    ...(isPart ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  if (fault !== 'cut' && fault !== 'stall') return void response.end(part);
  response.write(part.subarray(0, part.length >> 1), () => {
    if (fault === 'cut') response.destroy();
  });
}
