import { createWorkerChannels, type ModelOf, runWorker } from '../../src/worker/index.js';
import { conformanceModel, conformanceOperations, describeWorkerConformance } from './conformance.js';

describeWorkerConformance({
  name: 'inline',
  async spawn(options) {
    const { default: createModel } = (await import(conformanceModel.href)) as {
      default: (options: object) => ModelOf<typeof conformanceOperations>;
    };
    const { handle, channels } = createWorkerChannels(conformanceOperations);
    runWorker(createModel({}), channels, options);
    return handle;
  },
});
