import { residentBytes } from '../memory/resident.js';
import type { PooledWorker } from '../pooled-worker.js';

/** Measures what a worker with a process of its own occupies: its proportional share where the system tells it, else what it says of itself. */
export async function measureWorker(worker: PooledWorker): Promise<number | undefined> {
  const bytes = worker.pid === undefined ? undefined : await residentBytes(worker.pid);
  if (bytes !== undefined) return bytes;
  try {
    return (await worker.ping()).rss;
  } catch {
    return undefined;
  }
}
