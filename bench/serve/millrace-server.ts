/** A listening server of Millrace in a process of its own, which tells how late its event loop was; or its pool without HTTP. */
import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import { listen, type ServeServer } from 'millrace/serve';

/** What the process is asked for. */
export type Order =
  | { readonly kind: 'delay' }
  /** Embeds files through the pool, so many at once for so long. */
  | { readonly kind: 'pool'; readonly paths: readonly string[]; readonly lanes: number; readonly ms: number };

const [workers] = process.argv.slice(2) as [string];
const pool = createImageEmbeddingPool({ workers: { min: Number(workers), max: Number(workers) } });
await pool.warm();
const server: ServeServer = await listen(pool, { port: 0 });
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();

process.on('message', async (order: Order) => {
  if (order.kind === 'delay') {
    const { cancelled, expired, failed, succeeded, accepted, pending } = pool.stats();
    const memoryMb = process.memoryUsage().rss / 1e6;
    const ledger = { accepted, succeeded, failed, expired, cancelled, pending };
    process.send?.({ p99Ms: delay.percentile(99) / 1e6, maxMs: delay.max / 1e6, memoryMb, ledger });
    delay.reset();
    return;
  }
  const files = await Promise.all(order.paths.map((path) => readFile(path)));
  const end = performance.now() + order.ms;
  const started = performance.now();
  let count = 0;
  const lane = async (first: number): Promise<void> => {
    for (let index = first; performance.now() < end; index += order.lanes) {
      await pool.embedImageBytes(files[index % files.length] as Buffer);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: order.lanes }, (_, index) => lane(index)));
  process.send?.({ perSecond: (count * 1_000) / (performance.now() - started) });
});
process.send?.({ url: server.url });
