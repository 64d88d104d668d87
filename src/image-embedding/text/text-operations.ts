/** What a text worker can do. */
import { operation, type UnaryOperation } from '../../worker/index.js';

export type TextOperations = {
  readonly embedText: UnaryOperation<string, Float32Array>;
};

/** Declares the operations. */
export function declareTextOperations(capacity: number): TextOperations {
  return { embedText: operation<string, Float32Array>({ capacity, idempotent: true }) };
}
