// Not the globals, which a test environment may have replaced by a browser's: theirs can't be unreferenced.
import { clearInterval, setInterval } from 'node:timers';

/** The longest interval a timer takes; it does nothing when it fires. */
const FOR_EVER_MS = 2 ** 31 - 1;

/**
 * Holds the process while there is a reason to. Everything of a host is unreferenced, so that an idle worker holds nothing; one timer, made once
 * and referenced as needed, holds the process while calls are under way, a host is starting or a worker is closing.
 */
export class KeepAlive {
  readonly #timer: NodeJS.Timeout = setInterval(() => {}, FOR_EVER_MS).unref();
  readonly #reasons = new Set<string>();
  #hasCalls = false;
  #isHeld = false;

  hold(reason: string): void {
    this.#reasons.add(reason);
    this.#update();
  }

  release(reason: string): void {
    if (this.#reasons.size > 0 && this.#reasons.delete(reason)) this.#update();
  }

  /** Says whether calls are under way, which they begin and cease to be all the time. */
  holdForCalls(hasCalls: boolean): void {
    if (hasCalls === this.#hasCalls) return;
    this.#hasCalls = hasCalls;
    this.#update();
  }

  close(): void {
    this.#reasons.clear();
    clearInterval(this.#timer);
  }

  #update(): void {
    const isHeld = this.#hasCalls || this.#reasons.size > 0;
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    if (isHeld) this.#timer.ref();
    else this.#timer.unref();
  }
}
