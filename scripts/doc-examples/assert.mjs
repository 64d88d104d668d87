// What example modules import to assert with.
import { inspect, isDeepStrictEqual } from 'node:util';

class ClaimError extends Error {}

export function __equal(actual, expected, where) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new ClaimError(`${where}: promises ${inspect(expected)}, is ${inspect(actual)}`);
  }
}

export async function __throws(run, name, where) {
  try {
    await run();
  } catch (error) {
    if (error instanceof ClaimError) throw error;
    if (error?.name === name || error?.constructor?.name === name || error?.code === name) return;
    throw new ClaimError(`${where}: promises to throw ${name}, throws ${inspect(error)}`);
  }
  throw new ClaimError(`${where}: promises to throw ${name}, does not throw`);
}
