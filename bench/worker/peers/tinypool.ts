import { Tinypool } from 'tinypool';
import type { Scenarios } from '../../harness/scenario.js';
import { modelUrl, scenariosOf } from '../adapter.js';

export const scenarios: Scenarios = scenariosOf(async () => {
  const pool = new Tinypool({
    filename: modelUrl('tinypool-task.mjs').href,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 64,
  });
  return {
    increment: (value) => pool.run(value, { name: 'increment' }),
    copy: (array) => pool.run(array, { name: 'same' }),
  };
}, 'copy');
