/**
 * A turn as a promise.
 */
import { afterPause, DONE, ready, refused, rejected, settle, spend } from '../budget.js';
import { pin } from '../pinned.js';
import type { Plan } from './plan.js';
import { HAS_ENDED, HAS_FAILED, MUST_WAIT } from './poll.js';
import { type AnyEvent, ArmWaiter, NOTHING, Turn } from './turn.js';

/** Where a turn goes that has ended, to be used again. */
export interface Turns {
  spare: PromiseTurn | null;
}

export class PromiseTurn extends Turn {
  readonly #prepares: boolean;
  readonly #turns: Turns | null;
  #resolve: ((event: AnyEvent | Promise<never>) => void) | null = null;

  constructor(plan: Plan, turns: Turns | null) {
    super(plan);
    this.#prepares = plan.prepares;
    this.#turns = turns;
  }

  /** Looks, and waits if it must. What an arm throws rejects the wait. */
  run(signal: AbortSignal | undefined): Promise<AnyEvent> {
    try {
      return this.#prepares && this.prepare() ? this.#runPrepared(signal) : this.#lookOrWait(signal);
    } catch (error) {
      this.#recycle();
      return rejected(error);
    }
  }

  // Promises that are settled already say so some microtasks after they were asked.
  async #runPrepared(signal: AbortSignal | undefined): Promise<AnyEvent> {
    do await undefined;
    while (this.prepare());
    if (!signal?.aborted) return this.#lookOrWait(signal);
    this.#recycle();
    throw signal.reason;
  }

  #lookOrWait(signal: AbortSignal | undefined): Promise<AnyEvent> {
    const found = this.look();
    if (found === MUST_WAIT) {
      spend();
      const promise = new Promise<AnyEvent>((resolve) => {
        this.#resolve = resolve;
      });
      this.wait(signal);
      return promise;
    }
    const value = this.takeValue();
    this.#recycle();
    if (found === HAS_ENDED) return ready(NOTHING);
    if (found === HAS_FAILED) return rejected(value);
    // The event is made where the promise is: the compiler then knows that it is no thenable, and need not ask.
    return spend()
      ? afterPause({ arm: this.nameOf(found), value })
      : Promise.resolve({ arm: this.nameOf(found), value });
  }

  protected override settled(event: AnyEvent | Promise<never>): void {
    settle(this.#resolve as (event: AnyEvent | Promise<never>) => void, event);
    this.#recycle();
  }

  protected override settledLate(
    read: () => AnyEvent,
    undo: (() => void) | undefined,
    signal: AbortSignal | null,
  ): void {
    void DONE.then(() => {
      let event: AnyEvent | Promise<never>;
      try {
        if (undo !== undefined && signal?.aborted) {
          undo();
          throw signal.reason;
        }
        event = read();
      } catch (error) {
        event = refused(error);
      }
      this.settled(event);
    });
  }

  // To resolve with what is rejected is to reject, and needs no function of its own.
  protected override failed(reason: unknown): void {
    this.settled(refused(reason));
  }

  // Its function would hold the last promise, and its value.
  #recycle(): void {
    this.#resolve = null;
    if (this.#turns !== null) this.#turns.spare = this;
  }
}

const turn: PromiseTurn = new PromiseTurn({ names: [], sources: [], prepares: false, order: null }, null);
pin(turn, new ArmWaiter(turn, 0));
