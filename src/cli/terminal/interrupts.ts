import { type Clock, systemClock } from '../../core/index.js';

/** The part of `process` that signals come from. */
export interface SignalSource {
  on(event: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(event: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

/** Options of {@link handleInterrupts}. */
export interface InterruptHandlers {
  /** Called for the first signal. */
  onFirst(signal: NodeJS.Signals): void;
  /** Called for the next. */
  onSecond(signal: NodeJS.Signals): void;
  readonly source?: SignalSource;
  readonly clock?: Clock;
}

// A terminal sends SIGINT to the process group, and npm passes its own on: signals this close together are one key press.
const SAME_PRESS_MS = 300;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Turns SIGINT, SIGTERM and SIGHUP into two steps: finish what is running, then quit at once.
 *
 * @returns A function that removes the handlers.
 */
export function handleInterrupts(handlers: InterruptHandlers): () => void {
  const source = handlers.source ?? (process as SignalSource);
  const clock = handlers.clock ?? systemClock;
  let firstAt: number | undefined;
  const listener = (signal: NodeJS.Signals): void => {
    if (firstAt === undefined) {
      firstAt = clock.now();
      handlers.onFirst(signal);
    } else if (clock.now() - firstAt >= SAME_PRESS_MS) handlers.onSecond(signal);
  };
  for (const signal of SIGNALS) source.on(signal, listener);
  return () => {
    for (const signal of SIGNALS) source.off(signal, listener);
  };
}
