import { residentBytes } from '../memory/resident.js';
import type { PooledWorker } from '../pooled-worker.js';

/** Measures what a worker with a process of its own occupies: its proportional share where the system tells it, else its resident memory. */
export async function measureWorker(worker: PooledWorker): Promise<number | undefined> {
  try {
    const { pid, rss } = await worker.ping();
    return (await residentBytes(pid)) ?? rss;
  } catch {
    // Busy in native code, or on its way out: the next time will do.
    return undefined;
  }
}
