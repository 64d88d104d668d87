/**
 * The worker's model module with something in place of onnxruntime that takes its time as that does: it begins in a turn of the event loop of its
 * own and lets no JavaScript run until it is done. What it answers for an image is when its run began and ended, in ms since `origin`,
 * and the same of the runs before.
 */
import { createSessionModel } from '../../../dist/image-embedding/pipeline/worker-model.js';

const now = () => Number(process.hrtime.bigint() / 1000n) / 1000;

/** How many runs are told of: the image's own, and those before it. */
const KEPT = 8;

export function createModel({ runMs, origin, ...options }, context) {
  const { width, height } = options.spec.preprocess.output;
  const input = { name: 'images', type: 'float32', batch: undefined, width, height };
  const runs = new Array(2 * KEPT).fill(0);
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const session = {
    description: { input, output: { name: 'times', pooling: 'none', dimension: 2 * KEPT }, inputs: [], outputs: [] },
    run: (images) =>
      new Promise((resolve) => {
        setImmediate(() => {
          const begun = now() - origin;
          Atomics.wait(sleeper, 0, 0, runMs);
          const ended = now() - origin;
          runs.unshift(begun, ended);
          runs.length = 2 * KEPT;
          resolve(images.map(() => Float32Array.from(runs)));
        });
      }),
    dispose: async () => {},
  };
  return createSessionModel(session, options, context);
}
