// Embeds a local picture and URLs beside hosts that never answer: node dead-hosts-pool.mjs <picture> [<name server>]. Prints what came and in how many ms.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { createImageEmbeddingPool } from '../../../dist/image-embedding/index.js';

const [picture, nameServer] = process.argv.slice(2);
const bytes = readFileSync(picture);
const server = createServer((_request, response) => response.end(bytes)).listen(0, '127.0.0.1');
await once(server, 'listening');
// Takes connections and says nothing.
const silent = createTcpServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
await once(silent, 'listening');
let names = [];
if (nameServer !== undefined) {
  const dns = createSocket('udp4');
  await new Promise((resolve) => dns.bind(53, nameServer, resolve));
  names = Array.from({ length: 60 }, (_, index) => `http://dead-${index}.example/`);
}
const port = server.address().port;
const pool = createImageEmbeddingPool({
  workers: 1,
  timeoutMs: 60_000,
  limits: { url: { allowPrivateAddresses: true, connectTimeoutMs: 8_000 } },
});
await pool.embedImage(picture);
await pool.embedImageUrl(`http://127.0.0.1:${port}/warm`);

const silentUrl = (index) => `http://127.0.0.1:${silent.address().port}/${index}`;
const dead = nameServer === undefined ? Array.from({ length: 60 }, (_, index) => silentUrl(index)) : names;
const controller = new AbortController();
const given = dead.map((url) => pool.embedImageUrl(url, { signal: controller.signal }).catch(() => 'given up'));
await new Promise((resolve) => setTimeout(resolve, 200));
const timed = async (name, promise) => {
  const start = performance.now();
  const { length } = await promise;
  return [name, length, Math.round(performance.now() - start)];
};
const good = [
  timed('path', pool.embedImage(picture)),
  timed('address', pool.embedImageUrl(`http://127.0.0.1:${port}/1`)),
  ...(nameServer === undefined ? [] : [timed('name', pool.embedImageUrl(`http://good.example:${port}/2`))]),
];
console.log(JSON.stringify(await Promise.all(good)));
controller.abort();
await Promise.all(given);
await pool.destroy(new Error('done'));
process.exit();
