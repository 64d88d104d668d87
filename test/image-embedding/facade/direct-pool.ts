/** An image embedding pool whose workers call the model directly: everything of the facade, nothing of the hosts. */
import { systemClock } from '../../../src/core/index.js';
import {
  createImageEmbeddingPool,
  type ImageEmbeddingPool,
  type ImageEmbeddingPoolOptions,
} from '../../../src/image-embedding/index.js';
import { createModel, type WorkerModelOptions } from '../../../src/image-embedding/pipeline/worker-model.js';
import { MemoryGovernor } from '../../../src/pool/index.js';
import type { InternalPoolOptions, WorkerStart } from '../../../src/pool/internal.js';
import { SimulatedWorker } from '../../support/simulated-worker.js';

export interface DirectPool {
  readonly pool: ImageEmbeddingPool;
  /** Every call that reached a worker: the operation and its input. */
  readonly calls: { readonly operation: string; readonly input: unknown }[];
  /** The `traceparent` of each. */
  readonly traces: (string | undefined)[];
}

type Methods = Record<string, (input: unknown, call: { readonly signal: AbortSignal }) => unknown>;

export function createDirectPool(options: ImageEmbeddingPoolOptions = {}): DirectPool {
  const calls: { operation: string; input: unknown }[] = [];
  const traces: (string | undefined)[] = [];
  const pool = createImageEmbeddingPool({
    ...options,
    pool: {
      governor: new MemoryGovernor({ limitBytes: 8e9 }),
      spawn: (start: WorkerStart) => {
        const context = { host: 'inline', workerId: 'direct', signal: new AbortController().signal } as const;
        const loading = (async () => {
          const model = await createModel(start.options as WorkerModelOptions, context);
          await model.warmup?.();
          return model as unknown as Methods;
        })();
        loading.catch(() => undefined);
        const worker = new SimulatedWorker('direct', 0, systemClock, {
          answer: async (input, operation) => {
            calls.push({ operation, input });
            return (await loading)[operation]?.(input, { signal: new AbortController().signal });
          },
        });
        const give = worker.start.bind(worker);
        worker.start = (request) => {
          traces.push(request.traceparent);
          give(request);
        };
        return worker;
      },
    } as InternalPoolOptions,
  });
  return { pool, calls, traces };
}
