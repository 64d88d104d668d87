/** Lets jobs run side by side, or one alone: a job that may have ended its worker before must not take others with it. */
export class RunGate {
  #running = 0;
  #isAlone = false;
  readonly #waiting: { readonly isAlone: boolean; readonly start: () => void }[] = [];

  /** Resolves when the job may run. In order of the calls, so that a job that wants to be alone is not overtaken for ever. */
  async enter(isAlone: boolean): Promise<void> {
    if (this.#waiting.length === 0 && this.#hasRoom(isAlone)) {
      this.#begin(isAlone);
      return;
    }
    await new Promise<void>((start) => this.#waiting.push({ isAlone, start }));
  }

  /** Ends what `enter` began. */
  leave(): void {
    this.#running -= 1;
    this.#isAlone = false;
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next.isAlone); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#begin(next.isAlone);
      next.start();
    }
  }

  #hasRoom(isAlone: boolean): boolean {
    return !this.#isAlone && (!isAlone || this.#running === 0);
  }

  #begin(isAlone: boolean): void {
    this.#running += 1;
    this.#isAlone = isAlone;
  }
}
