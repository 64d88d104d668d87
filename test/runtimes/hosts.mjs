/** `hosts.mjs <inline | thread | process | images>`: a worker in a host of this runtime, or an image of the pool. Prints `ok`. */
import { fileURLToPath } from 'node:url';
import { createImageEmbeddingPool } from '../../dist/image-embedding/index.js';
import { operation, spawnWorker } from '../../dist/worker/index.js';

const [what] = process.argv.slice(2);
const isBun = 'Bun' in globalThis;
if (what === 'images') {
  const pool = createImageEmbeddingPool({ workers: { max: 1 }, ...(isBun ? { host: 'thread' } : {}) });
  const vector = await pool.embedImage(fileURLToPath(new URL('../../examples/photos/cat-1.jpg', import.meta.url)));
  await pool.close();
  if (vector.length !== 256) throw new Error(`an embedding of ${vector.length} numbers`);
} else {
  const module = new URL('./doubling-model.mjs', import.meta.url);
  const worker = spawnWorker({ operations: { double: operation() }, host: what, module });
  const answer = await worker.call('double', 21, { timeoutMs: 30_000 });
  await worker.close();
  if (answer !== 42) throw new Error(`the answer was ${answer}`);
}
console.log('ok');
process.exit(0);
