/** A model that takes a known time. It answers for an image when its run began and ended, in ms since `origin`, and the same of the runs before. */
import { modelOf, sleep } from './session-model.mjs';

const now = () => Number(process.hrtime.bigint() / 1000n) / 1000;

/** How many runs are told of: the image's own, and those before it. */
const KEPT = 8;

export function createModel({ runMs, origin, ...options }, context) {
  const runs = new Array(2 * KEPT).fill(0);
  return modelOf(options, context, runs.length, () => {
    const begun = now() - origin;
    sleep(runMs);
    runs.unshift(begun, now() - origin);
    runs.length = 2 * KEPT;
    return runs;
  });
}
