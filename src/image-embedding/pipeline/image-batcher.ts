/** Gathers decoded images of all operations into batches for the model. */
import type { ImageBatcher, Pixels } from './pipeline.js';

/** What makes a batcher. */
export interface ImageBatcherOptions {
  readonly maxBatch: number;
  readonly maxDelayMs: number;
  readonly run: (images: readonly Pixels[]) => Promise<readonly Float32Array[]>;
}

interface Waiting {
  readonly pixels: Pixels;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (vector: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

/** Makes the batcher. */
export function createImageBatcher(options: ImageBatcherOptions): ImageBatcher & { close(): Promise<void> } {
  const waiting: Waiting[] = [];
  let running: Promise<void> | undefined;

  async function loop(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, options.maxBatch).filter((each) => {
        if (each.signal?.aborted) each.reject(each.signal.reason);
        return !each.signal?.aborted;
      });
      if (batch.length === 0) continue;
      try {
        const vectors = await options.run(batch.map((each) => each.pixels));
        for (const [index, each] of batch.entries()) each.resolve(vectors[index] as Float32Array);
      } catch (error) {
        for (const each of batch) each.reject(error);
      }
    }
    running = undefined;
  }

  return {
    add(pixels, { signal }) {
      return new Promise((resolve, reject) => {
        waiting.push({ pixels, signal, resolve, reject });
        running ??= loop();
      });
    },
    async close() {
      await running;
    },
  };
}
