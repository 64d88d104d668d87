/** An answer, and how it is written: to Node's response where there is one, else as a `Response` of the web. */
import type { ServerResponse } from 'node:http';

/** What a handler answers with. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | ReadableStream<Uint8Array>;
}

const JSON_TYPE = 'application/json; charset=utf-8';

/** Answers with a value as JSON. */
export function jsonAnswer(value: unknown, status = 200, headers?: Readonly<Record<string, string>>): Answer {
  return { status, headers: { 'content-type': JSON_TYPE, ...headers }, body: JSON.stringify(value) };
}

/** Answers with a text. */
export function textAnswer(body: string, contentType = 'text/plain; charset=utf-8', status = 200): Answer {
  return { status, headers: { 'content-type': contentType }, body };
}

/** Makes a `Response` of it. */
export function toResponse({ status, headers, body }: Answer, isHead: boolean): Response {
  const isEmpty = isHead || status === 204 || status === 304;
  return new Response(isEmpty ? null : (body as string | Uint8Array<ArrayBuffer> | ReadableStream), {
    status,
    headers,
  });
}

/** Writes it to Node's response. A string goes out in one piece with its header. */
export async function writeAnswer(outgoing: ServerResponse, { status, headers, body }: Answer): Promise<void> {
  if (outgoing.destroyed || outgoing.headersSent) return;
  const isStream = typeof body !== 'string' && !(body instanceof Uint8Array);
  if (!isStream) {
    const length = status === 204 || status === 304 ? {} : { 'content-length': Buffer.byteLength(body) };
    outgoing.writeHead(status, { ...headers, ...length }).end(body);
    return;
  }
  outgoing.writeHead(status, headers).flushHeaders();
  const reader = body.getReader();
  outgoing.once('close', () => void reader.cancel().catch(() => {}));
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (!outgoing.write(part.value)) await drained(outgoing);
  }
  outgoing.end();
}

/** Resolves when the response takes more, or is closed. */
function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('drain', done).off('close', done);
      resolve();
    };
    outgoing.once('drain', done).once('close', done);
  });
}
