import type { CancellationToken } from './token.js';

/**
 * Cancels a token at the end of a scope: `using guard = token.dropGuard()`.
 *
 * @example
 * ```ts
 * const token = new CancellationToken();
 * token.dropGuard()[Symbol.dispose]();
 * token.isCancelled; // => true
 * ```
 */
export class DropGuard implements Disposable {
  #token: CancellationToken | null;

  /** @internal */
  constructor(token: CancellationToken) {
    this.#token = token;
  }

  /**
   * Takes the token out of the guard, which then does nothing.
   *
   * @returns The token, or nothing when it was taken or cancelled by the guard before.
   */
  disarm(): CancellationToken | undefined {
    const token = this.#token;
    this.#token = null;
    return token ?? undefined;
  }

  /** Cancels the token, unless the guard was disarmed. A second call does nothing. */
  [Symbol.dispose](): void {
    this.disarm()?.cancel();
  }
}
