import { SendError } from '../closed-errors.js';
import { printedAs } from '../inspect.js';
import type { Sender } from './bounded.js';
import type { SendSide } from './chan.js';

/** A handle to a channel that does not keep it open; `S` is the kind of its senders. */
export class WeakSender<in T, out S = Sender<T>> implements Disposable {
  /** @internal */
  readonly chan: SendSide<T>;
  readonly #toSender: (chan: SendSide<T>) => S;
  #open = true;

  /** @internal */
  constructor(chan: SendSide<T>, toSender: (chan: SendSide<T>) => S) {
    chan.weak++;
    this.chan = chan;
    this.#toSender = toSender;
  }

  /** How many senders there are, permits that own one included. */
  get strongCount(): number {
    return this.chan.strong;
  }

  /** How many weak senders there are. */
  get weakCount(): number {
    return this.chan.weak;
  }

  /** A sender, as long as there is another one or a permit that owns one; nothing afterwards. */
  upgrade(): S | undefined {
    if (!this.#open || this.chan.strong === 0) return undefined;
    this.chan.strong++;
    return this.#toSender(this.chan);
  }

  /** Another weak sender. */
  clone(): WeakSender<T, S> {
    if (!this.#open) throw new SendError('Cannot clone weak sender: it is closed', undefined);
    return new WeakSender(this.chan, this.#toSender);
  }

  /** Lets go of this weak sender; a second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.chan.weak--;
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

printedAs(WeakSender, 'strongCount', 'weakCount');
