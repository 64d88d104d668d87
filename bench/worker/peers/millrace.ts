import { operation, spawnWorker, type WorkerHost } from 'millrace/worker';
import { type Caller, modelUrl } from '../adapter.js';

/** A Millrace worker in some host. */
export async function openMillrace(host: WorkerHost): Promise<Caller> {
  const operations = {
    increment: operation<number, number>({ capacity: 64 }),
    same: operation<Float32Array, Float32Array>(),
  };
  const settings = { host, operations, module: modelUrl('millrace-model.mjs'), concurrency: 64 } as const;
  const worker = spawnWorker({ ...settings, transfer: { results: false } });
  const mover = spawnWorker({ ...settings, transfer: { inputs: true, results: true } });
  await worker.state.waitFor('ready');
  await mover.state.waitFor('ready');
  return {
    increment: (value) => worker.call('increment', value),
    copy: (array) => worker.call('same', array),
    move: (array) => mover.call('same', array),
  };
}
