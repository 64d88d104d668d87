/** The longest interval a timer takes; it does nothing when it fires. */
const FOR_EVER_MS = 2 ** 31 - 1;

/**
 * Holds the process while there is a reason to. Everything of a host is unreferenced, so that an idle worker holds nothing; one timer, made once
 * and referenced as needed, holds the process while calls are under way, a host is starting or a worker is closing.
 */
export class KeepAlive {
  readonly #timer: NodeJS.Timeout = setInterval(() => {}, FOR_EVER_MS).unref();
  readonly #reasons = new Set<string>();

  hold(reason: string): void {
    if (this.#reasons.size === 0) this.#timer.ref();
    this.#reasons.add(reason);
  }

  release(reason: string): void {
    if (this.#reasons.delete(reason) && this.#reasons.size === 0) this.#timer.unref();
  }

  close(): void {
    this.#reasons.clear();
    clearInterval(this.#timer);
  }
}
