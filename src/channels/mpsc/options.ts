import { type Clock, requireFunction, requireOptions } from '../../core/index.js';
import { requireClock } from '../time/clock-option.js';
import type { ChanSettings } from './chan.js';

/** What a channel takes beside its capacity. */
export interface ChannelOptions<T> {
  /**
   * Called once with each value that was accepted and can no longer be received: those that lie in the channel when its receiver is disposed of,
   * and those sent later on permits. For values that hold something to be released. A send that fails hands its value back instead.
   */
  readonly onUndelivered?: ((value: T) => void) | undefined;
  /** The clock of `sendTimeout`; the system's by default. */
  readonly clock?: Clock | undefined;
}

/**
 * Checks the options of a channel.
 *
 * @internal
 */
export function settingsOf<T>(action: string, options: ChannelOptions<T> | undefined): ChanSettings<T> | null {
  if (options === undefined) return null;
  const { onUndelivered, clock } = requireOptions(action, options, ['onUndelivered', 'clock']);
  if (onUndelivered !== undefined) requireFunction(action, 'onUndelivered', onUndelivered);
  if (clock !== undefined) requireClock(action, clock);
  return { onUndelivered, clock };
}
