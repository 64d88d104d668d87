import { move, Piscina } from 'piscina';
import type { Scenarios } from '../../harness/scenario.js';
import { modelUrl, scenariosOf } from '../adapter.js';

export const scenarios: Scenarios = scenariosOf(
  async () => {
    const pool = new Piscina({
      filename: modelUrl('piscina-task.mjs').href,
      minThreads: 1,
      maxThreads: 1,
      concurrentTasksPerWorker: 64,
    });
    return {
      increment: (value) => pool.run(value, { name: 'increment' }),
      copy: (array) => pool.run(array, { name: 'same' }),
      move: (array) => pool.run(move(array), { name: 'moved' }),
    };
  },
  'copy',
  'move',
);
