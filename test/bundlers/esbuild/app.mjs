/** An application with an image pool and a worker of its own, in each host. */
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import { operation, spawnWorker } from 'millrace/worker';

const module = 'data:text/javascript,export default () => ({ echo: (input) => input })';
for (const host of ['thread', 'process']) {
  const worker = spawnWorker({ host, operations: { echo: operation() }, module });
  console.log(await worker.call('echo', host));
  await worker.close();
}
const pool = createImageEmbeddingPool({ workers: { max: 1 }, loadTimeoutMs: 300_000 });
console.log(`embedded ${(await pool.embedImage(process.env.PICTURE, { timeoutMs: 300_000 })).length}`);
await pool.close();
