import { describeReceived } from '../core/index.js';
import type { AnyOperation } from './operation.js';

/**
 * How large an input is, as far as it matters: in whole bytes, so that what is added up is taken off again without a rest. 0 where bytes do not count.
 *
 * @internal
 * @throws What `sizeOf` throws; TypeError, RangeError When it answers with what is no size.
 */
export function inputBytes(name: string, { capacity, sizeOf }: AnyOperation, input: unknown): number {
  if (capacity.bytes === Number.POSITIVE_INFINITY) return 0;
  const bytes: unknown = sizeOf(input as never);
  if (typeof bytes === 'number' && bytes >= 0) return Math.ceil(bytes);
  const message = `Cannot call ${name}: sizeOf must answer a non-negative number of bytes, received ${describeReceived(bytes)}`;
  throw typeof bytes === 'number' ? new RangeError(message) : new TypeError(message);
}

/**
 * Refuses an input that never fits into its operation's queue.
 *
 * @internal
 * @throws RangeError When it is larger than the whole capacity.
 */
export function requireFits(name: string, { capacity }: AnyOperation, bytes: number): void {
  if (bytes <= capacity.bytes) return;
  throw new RangeError(`Cannot call ${name}: input must be at most ${capacity.bytes} bytes, received ${bytes}`);
}
