/** Requests byte for byte, through a socket: what no HTTP client would send, and what recorded ones did. */
import { connect } from 'node:net';

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Sends bytes, in pieces where several are given, and reads to the end of the connection.
 *
 * @param pauseMs Between the pieces.
 */
export function exchange(url: string, pieces: readonly (string | Uint8Array)[], pauseMs = 0): Promise<RawAnswer> {
  const { port, hostname } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      const answer = parse(Buffer.concat(chunks));
      if (answer === undefined) return;
      socket.destroy();
      resolve(answer);
    });
    socket.on('error', reject);
    socket.on('close', () =>
      reject(new Error(`closed after ${Buffer.concat(chunks).toString('latin1').slice(0, 200)}`)),
    );
    socket.on('connect', () => {
      void (async () => {
        for (const piece of pieces) {
          socket.write(piece);
          if (pauseMs > 0) await new Promise((next) => setTimeout(next, pauseMs));
        }
      })();
    });
  });
}

/** A whole answer, by its length or its chunks; undefined before it is there. */
function parse(bytes: Buffer): RawAnswer | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  const rest = bytes.subarray(end + 4);
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (rest.length < length) return undefined;
  if (headers['transfer-encoding'] === 'chunked' && !rest.toString('latin1').endsWith('0\r\n\r\n')) return undefined;
  return { status: Number(first.split(' ')[1]), headers, body: rest.toString('utf8') };
}
