/** sharp and onnxruntime in the threads of piscina, one per core. */
import { Piscina } from 'piscina';
import type { Contenders } from '../contender.js';

export const contenders: Contenders = {
  async threads(setup) {
    const piscina = new Piscina({
      filename: new URL('./piscina-task.mjs', import.meta.url).href,
      minThreads: setup.cores,
      maxThreads: setup.cores,
      // While one image is in the model the next is in sharp.
      concurrentTasksPerWorker: 4,
      workerData: setup,
    });
    return {
      lanes: 8 * setup.cores,
      batch: 1,
      embed: async ([path]) => [(await piscina.run(path)) as Float32Array],
      close: () => piscina.close(),
    };
  },
};
