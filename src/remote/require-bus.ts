import { requireFunction } from '../core/index.js';
import type { Bus } from './bus.js';

/** Requires a bus. It is a check of an option table. */
export function requireBus(action: string, name: string, value: unknown): Bus {
  for (const method of ['publish', 'subscribe', 'flush', 'watch', 'close'] as const) {
    requireFunction(action, `${name}.${method}`, (value as Bus | null | undefined)?.[method]);
  }
  return value as Bus;
}
