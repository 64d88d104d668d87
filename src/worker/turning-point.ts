/** Those who wait for a worker to come to a point: quiet, rid of a request, over. */
export class TurningPoint {
  #waiters: (() => void)[] = [];

  get isAwaited(): boolean {
    return this.#waiters.length > 0;
  }

  /** Resolves when it is next reached. */
  reached(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** It is reached: whoever waits now is told. */
  reach(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
