/** The worker's model module with something in place of onnxruntime that keeps the thread as that does: no JavaScript runs until it is done. */
import { createSessionModel } from '../../../dist/image-embedding/pipeline/worker-model.js';

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Stops this thread. */
export function sleep(ms) {
  Atomics.wait(sleeper, 0, 0, ms);
}

/** A model whose `run(count)` takes its time and answers the vector of every image in that run. */
export function modelOf(options, context, dimension, run) {
  const { width, height } = options.spec.preprocess.output;
  const input = { name: 'images', type: 'float32', batch: undefined, width, height };
  const session = {
    description: { input, output: { name: 'numbers', pooling: 'none', dimension }, inputs: [], outputs: [] },
    run: (images) =>
      new Promise((resolve) => {
        setImmediate(() => {
          const vector = run(images.length);
          resolve(images.map(() => Float32Array.from(vector)));
        });
      }),
    dispose: async () => {},
  };
  return createSessionModel(session, options, context);
}
