import { type Clock, requireFunction } from '../core/index.js';

/** Checks that a time source has what one needs. */
export function requireClock(action: string, clock: Clock): Clock {
  requireFunction(action, 'clock.now', (clock as Clock | null)?.now);
  requireFunction(action, 'clock.setTimer', (clock as Clock | null)?.setTimer);
  return clock;
}
