import { monotonicNow, scheduleMacrotask } from '../../core/index.js';
import { Kind } from './messages.js';
import type { Message } from './outbox.js';
import { sharedTime } from './shared-clock.js';

/** What takes messages: each with whether it came alone, or among calls alone, and with the time. */
export type Receive = (message: Message, isAlone: boolean, at: number) => void;

/** How old a call may be, in ms, before it is taken for one of many that came while this thread was blocked. */
const LATE_MS = 2;

/**
 * What a host that was blocked finds in its mailbox: calls, and behind them, not read yet, the word that some of them are given up. So once a
 * call is seen to be late, messages are kept until the event loop has looked everywhere, and then handed on in one go and in order, before the
 * loop beside the model can take any of them.
 */
export class Backlog {
  readonly #handle: Receive;
  #kept: Message[] | undefined;
  readonly #release = (): void => {
    const kept = this.#kept as Message[];
    this.#kept = undefined;
    for (const message of kept) this.#handle(message, false, monotonicNow());
  };

  constructor(handle: Receive) {
    this.#handle = handle;
  }

  receive(message: Message, isAlone: boolean): void {
    if (this.#kept !== undefined) {
      this.#kept.push(message);
      return;
    }
    const at = monotonicNow();
    if (message[0] === Kind.Call && sharedTime(at) - (message[6] as number) > LATE_MS) {
      this.#kept = [message];
      // The first may come before the event loop has looked at its sockets and ports again; the second comes after.
      scheduleMacrotask(() => scheduleMacrotask(this.#release));
    } else {
      this.#handle(message, isAlone, at);
    }
  }
}
