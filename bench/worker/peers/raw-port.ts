import { Worker } from 'node:worker_threads';
import type { Scenarios } from '../../harness/scenario.js';
import { modelUrl, scenariosOf } from '../adapter.js';

export const scenarios: Scenarios = scenariosOf(
  async () => {
    const worker = new Worker(modelUrl('raw-port.mjs'));
    const waiting = new Map<number, (value: never) => void>();
    let ids = 0;
    worker.on('message', ({ id, value }: { id: number; value: never }) => {
      const resolve = waiting.get(id);
      waiting.delete(id);
      resolve?.(value);
    });
    const ask = <T>(value: unknown, isMoved: boolean, transfer: ArrayBuffer[]): Promise<T> =>
      new Promise((resolve) => {
        const id = ++ids;
        waiting.set(id, resolve);
        worker.postMessage({ id, value, isMoved }, transfer);
      });
    return {
      increment: (value) => ask(value, false, []),
      copy: (array) => ask(array, false, []),
      move: (array) => ask(array, true, [array.buffer as ArrayBuffer]),
    };
  },
  'copy',
  'move',
);
