import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { PENDING, type Poll, READY, type SelectSource, type SelectWaiter, type Slot } from './selectable.js';

/** An `AbortSignal` as an arm: it wins with the signal's reason. */
export class SignalSource implements SelectSource<unknown> {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  poll(slot: Slot): Poll {
    if (!this.#signal.aborted) return PENDING;
    slot.value = this.#signal.reason;
    return READY;
  }

  register(waiter: SelectWaiter): void {
    addAbortListener(this.#signal, waiter);
  }

  unregister(waiter: SelectWaiter): void {
    removeAbortListener(this.#signal, waiter);
  }

  isEnded(): boolean {
    return false;
  }
}
