import { type Clock, requireFunction } from '../../core/index.js';

/** Requires a clock. */
export function requireClock(action: string, value: unknown): Clock {
  requireFunction(action, 'clock.now', (value as Clock | null)?.now);
  requireFunction(action, 'clock.setTimer', (value as Clock | null)?.setTimer);
  return value as Clock;
}
