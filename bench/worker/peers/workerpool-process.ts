import { fileURLToPath } from 'node:url';
import workerpool from 'workerpool';
import type { Scenarios } from '../../harness/scenario.js';
import { modelUrl, scenariosOf } from '../adapter.js';

export const scenarios: Scenarios = scenariosOf(async () => {
  const pool = workerpool.pool(fileURLToPath(modelUrl('workerpool-task.mjs')), {
    maxWorkers: 1,
    workerType: 'process',
    forkOpts: { serialization: 'advanced' },
  });
  return {
    increment: async (value) => (await pool.exec('increment', [value])) as number,
    copy: async (array) => (await pool.exec('same', [array])) as Float32Array,
  };
}, 'copy');
