import { spawnWorker } from '../../../src/worker/index.js';
import { conformanceModel, conformanceOperations, describeWorkerConformance } from '../conformance.js';

for (const name of ['inline', 'thread', 'process'] as const) {
  describeWorkerConformance({
    name,
    spawn(options) {
      return spawnWorker({ host: name, operations: conformanceOperations, module: conformanceModel, ...options });
    },
  });
}
