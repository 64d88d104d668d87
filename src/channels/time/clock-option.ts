import { type Clock, faultOf, requireFunction } from '../../core/index.js';

/** Requires a clock. */
export function requireClock(action: string, value: unknown): Clock {
  requireFunction(action, 'clock.now', (value as Clock | null)?.now);
  requireFunction(action, 'clock.setTimer', (value as Clock | null)?.setTimer);
  return value as Clock;
}

/** Requires a point in time, in ms on a clock. */
export function requireInstant(action: string, name: string, value: unknown): number {
  if (typeof value === 'number' && !Number.isNaN(value)) return value;
  throw faultOf(action, name, 'a number of milliseconds', value, typeof value === 'number' ? RangeError : TypeError);
}
