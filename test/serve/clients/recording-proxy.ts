/** A proxy before a server that keeps what a client sent and what it got. */
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request that went through. */
export interface Exchange {
  readonly path: string;
  readonly sent: string;
  status: number | undefined;
  got: string;
}

/** A running proxy. */
export interface RecordingProxy {
  readonly url: string;
  readonly exchanges: Exchange[];
  close(): void;
}

/** Starts a proxy before the server of an address. A client that leaves is one that leaves the server. */
export async function startRecordingProxy(target: string): Promise<RecordingProxy> {
  const exchanges: Exchange[] = [];
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      const exchange: Exchange = { path: incoming.url as string, sent: body.toString(), status: undefined, got: '' };
      exchanges.push(exchange);
      const { connection: _, 'transfer-encoding': __, ...headers } = incoming.headers;
      const options = { method: incoming.method, headers: { ...headers, 'content-length': body.length }, agent: false };
      const upstream = send(`${target}${incoming.url}`, options, (answer) => {
        exchange.status = answer.statusCode;
        const { connection: ___, ...passed } = answer.headers;
        outgoing.writeHead(answer.statusCode as number, answer.statusMessage, passed);
        answer.on('data', (chunk: Buffer) => {
          exchange.got += chunk;
        });
        answer.pipe(outgoing);
      });
      upstream.on('error', () => outgoing.destroy());
      outgoing.on('close', () => upstream.destroy());
      upstream.end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exchanges,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
