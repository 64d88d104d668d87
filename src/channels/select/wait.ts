/**
 * A turn as a promise.
 */
import { ready, rejected, settle, spend } from '../budget.js';
import { type AnyEvent, HAS_FAILED, MUST_WAIT, type Turn, type TurnSink } from './turn.js';
import { pin } from '../pinned.js';

/** Takes a turn back that has ended. */
export type Recycle = (turn: Turn) => void;

class PromiseSink implements TurnSink {
  readonly promise: Promise<AnyEvent>;
  readonly #recycle: Recycle | null;
  #resolve!: (event: AnyEvent) => void;
  #reject!: (reason: unknown) => void;

  constructor(recycle: Recycle | null) {
    this.#recycle = recycle;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  settled(event: AnyEvent, turn: Turn): void {
    this.#recycle?.(turn);
    settle(this.#resolve, event);
  }

  failed(reason: unknown, turn: Turn): void {
    this.#recycle?.(turn);
    settle(this.#reject, reason);
  }
}

/** Runs one turn: looks, and waits if it must. */
export function runTurn(
  turn: Turn,
  prepares: boolean,
  signal: AbortSignal | undefined,
  recycle: Recycle | null,
): Promise<AnyEvent> {
  if (prepares && turn.prepare()) return runPrepared(turn, signal, recycle);
  return lookOrWait(turn, signal, recycle);
}

function lookOrWait(turn: Turn, signal: AbortSignal | undefined, recycle: Recycle | null): Promise<AnyEvent> {
  const found = turn.look();
  if (found === MUST_WAIT) {
    spend();
    const sink = new PromiseSink(recycle);
    turn.wait(sink, signal);
    return sink.promise;
  }
  if (found === HAS_FAILED) {
    const reason = turn.takeReason();
    recycle?.(turn);
    return rejected(reason);
  }
  recycle?.(turn);
  return ready(found);
}

// Promises that are settled already say so some microtasks after they were asked.
async function runPrepared(turn: Turn, signal: AbortSignal | undefined, recycle: Recycle | null): Promise<AnyEvent> {
  do await undefined;
  while (turn.prepare());
  if (signal?.aborted) {
    recycle?.(turn);
    throw signal.reason;
  }
  return lookOrWait(turn, signal, recycle);
}

pin(new PromiseSink(null));
