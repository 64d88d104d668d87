/**
 * Cancellation, after `tokio_util::sync::CancellationToken`.
 *
 * Invariants:
 * - A token is cancelled when it or an ancestor is, for ever; its reason is that of the first cancellation.
 * - A child is linked to its parent only while it or a descendant has waiters, or while its `signal` is in use: a token without waiters costs its
 *   ancestors nothing, and is collected with its last reference.
 * - All of a tree is cancelled before any waiter is told: a waiter sees every descendant cancelled.
 */
import { addAbortListener, describeReceived, removeAbortListener, requireSignal } from '../core/index.js';
import { markHandled, ready, readyVoid, rejected } from './internal/budget.js';
import { printedAs } from './internal/inspect.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { pin } from './internal/pinned.js';
import { runUntilStopped } from './internal/stoppable.js';
import { CallbackWaiter, PromiseWaiter, unlink, Waiter, WaiterList } from './internal/waiters.js';
import {
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from './select/selectable.js';

/** The result of {@link CancellationToken.runUntilCancelled}. */
export type UntilCancelled<R> =
  | { readonly state: 'ok'; readonly value: R }
  | { readonly state: 'cancelled'; readonly reason: unknown };

const STOPPED = Symbol('stopped');

let watch: (token: CancellationToken, watcher: Waiter<unknown>) => void;
let tellTree: (token: CancellationToken, reason: unknown) => void;
let unwatch: (token: CancellationToken, watcher: Waiter<unknown>) => boolean;

/**
 * A request to stop: cancelled once and for ever, shared by reference, and handed down to its children.
 *
 * As an arm of `select` it wins, with the reason, once it is cancelled, and stays ready.
 *
 * @example
 * ```ts
 * const server = new CancellationToken();
 * const request = server.childToken();
 * request.cancel();
 * server.isCancelled; // => false
 * server.cancel('shutdown');
 * server.childToken().reason; // => 'shutdown'
 * ```
 */
export class CancellationToken implements Selectable<unknown>, Disposable {
  #parent: CancellationToken | null = null;
  #origin: AbortSignal | null = null;
  #cancelled = false;
  #reason: unknown = undefined;
  #watchers: WaiterList<Waiter<unknown>> | null = null;
  #link: ParentLink | null = null;
  #controller: AbortController | null = null;
  #follower: CallbackWaiter<unknown> | null = null;

  static {
    watch = (token, watcher) => token.#watch(watcher);
    unwatch = (token, watcher) => token.#unwatch(watcher);
    tellTree = (token, reason) => {
      if (!token.#cancelled) token.#tell(reason);
    };
  }

  /**
   * Makes a token that is cancelled when a signal fires. Cancelling the token does not abort the signal.
   *
   * @param signal Any `AbortSignal`. It has a listener only while the token has waiters.
   */
  static fromSignal(signal: AbortSignal): CancellationToken {
    requireSignal('Cannot create token', signal);
    const token = new CancellationToken();
    token.#origin = signal;
    return token;
  }

  /** Whether the token or an ancestor is cancelled. */
  get isCancelled(): boolean {
    return this.#source() !== null;
  }

  /** The reason of the cancellation; undefined before. */
  get reason(): unknown {
    const source = this.#source();
    if (source === null) return undefined;
    return source.#cancelled ? source.#reason : source.#origin?.reason;
  }

  /**
   * The token as an `AbortSignal`: the same one every time, aborted with the reason (without one, with an `AbortError`).
   *
   * A child whose signal was read is held by its parent until it is cancelled or disposed of.
   */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      const controller = new AbortController();
      this.#controller = controller;
      if (this.isCancelled) {
        controller.abort(this.reason);
      } else {
        this.#follower = new CallbackWaiter<unknown>((reason) => controller.abort(reason));
        this.#watch(this.#follower);
      }
    }
    return this.#controller.signal;
  }

  /**
   * Cancels the token and all its descendants, and wakes their waiters. A second call does nothing.
   *
   * @param reason The value of `reason`, of `signal.reason` and of a winning arm.
   */
  cancel(reason?: unknown): void {
    if (this.isCancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    this.#unhang();
    this.#tell(reason);
  }

  /**
   * Waits until the token is cancelled; resolves at once ever after.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options A signal that abandons the wait.
   */
  cancelled(options?: WaitOptions): Promise<void> {
    const signal = signalOf('Cannot wait for the cancellation', options);
    if (signal?.aborted) return rejected(signal.reason);
    if (this.isCancelled) return readyVoid();
    const waiter = new TokenWaiter(this);
    this.#watch(waiter);
    return waiter.until(signal);
  }

  /** Makes a token that is cancelled with this one, and can be cancelled without it. A child of a cancelled token is cancelled. */
  childToken(): CancellationToken {
    const child = new CancellationToken();
    child.#parent = this;
    return child;
  }

  /** Returns this token: tokens are shared by reference. */
  clone(): this {
    return this;
  }

  /**
   * Runs an operation until it settles or the token is cancelled. A promise or thenable that it gives is followed.
   *
   * **Cancel safety:** an operation that ignores its signal goes on, and its result is lost.
   *
   * @param operation A promise, or a function whose signal is aborted when the token is cancelled. When the token is cancelled already, it is not
   * called.
   * @returns `{ state: 'ok', value }` with the result of the operation, or `{ state: 'cancelled', reason }` when the token was cancelled first.
   * @throws Any exception of the operation (rejects), unless the token was cancelled first.
   * @example
   * ```ts
   * const stop = new CancellationToken();
   * await stop.runUntilCancelled(async () => undefined); // => { state: 'ok', value: undefined }
   * stop.cancel('enough');
   * await stop.runUntilCancelled(async () => 1); // => { state: 'cancelled', reason: 'enough' }
   * ```
   */
  runUntilCancelled<R>(
    operation: PromiseLike<R> | ((signal: AbortSignal) => PromiseLike<R> | R),
  ): Promise<UntilCancelled<R>> {
    if (typeof operation !== 'function' && typeof operation?.then !== 'function') {
      const received = describeReceived(operation);
      throw new TypeError(
        `Cannot run until cancelled: operation must be a function or a promise, received ${received}`,
      );
    }
    if (this.isCancelled) {
      // Its rejection may have no other listener.
      if (typeof operation !== 'function') markHandled(operation);
      return ready(this.#ranOut());
    }
    const listen = (stop: (reason: unknown) => void): (() => void) => {
      const watcher = new CallbackWaiter(stop);
      this.#watch(watcher);
      return () => void this.#unwatch(watcher);
    };
    return runUntilStopped<R | typeof STOPPED>(operation, listen, (_reason, resolve) => resolve(STOPPED)).then(
      (value) => (value === STOPPED ? this.#ranOut() : { state: 'ok', value }),
    );
  }

  /** Makes a guard that cancels this token at the end of a scope. */
  dropGuard(): DropGuard {
    return new DropGuard(this);
  }

  /** The token as an arm of `select`. */
  selectSource(): SelectSource<unknown> {
    return new TokenSource(this);
  }

  /**
   * Unlinks `signal` from the tokens above this one, without cancelling anything. Waits go on. For children whose `signal` was read; other tokens need
   * no disposal.
   */
  [Symbol.dispose](): void {
    const follower = this.#follower;
    if (follower === null) return;
    this.#follower = null;
    this.#unwatch(follower);
    this.#controller = null;
  }

  #ranOut(): { readonly state: 'cancelled'; readonly reason: unknown } {
    return { state: 'cancelled', reason: this.reason };
  }

  // The nearest cancelled token: this one or an ancestor.
  #source(): CancellationToken | null {
    let token: CancellationToken | null = this;
    while (token !== null) {
      if (token.#cancelled || token.#origin?.aborted) return token;
      token = token.#parent;
    }
    return null;
  }

  #watch(watcher: Waiter<unknown>): void {
    this.#watchers ??= new WaiterList();
    if (this.#watchers.head === null) this.#hang();
    this.#watchers.push(watcher);
  }

  #unwatch(watcher: Waiter<unknown>): boolean {
    if (!unlink(watcher)) return false;
    if (!this.#watchers?.head) this.#unhang();
    return true;
  }

  #hang(): void {
    if (this.#parent === null && this.#origin === null) return;
    this.#link ??= new ParentLink(this);
    if (this.#origin !== null) addAbortListener(this.#origin, this.#link);
    else (this.#parent as CancellationToken).#watch(this.#link);
  }

  #unhang(): void {
    if (this.#link === null) return;
    if (this.#origin !== null) removeAbortListener(this.#origin, this.#link);
    else (this.#parent as CancellationToken).#unwatch(this.#link);
  }

  // Iterative, as a tree may be deep. All tokens are cancelled first, then the waiters are told, out of their lists: telling one may withdraw
  // another.
  #tell(reason: unknown): void {
    const tree: CancellationToken[] = [this];
    for (let at = 0; at < tree.length; at++) {
      const token = tree[at] as CancellationToken;
      if (!token.#cancelled) {
        token.#cancelled = true;
        token.#reason = reason;
      }
      token.#follower = null;
      for (
        let watcher = token.#watchers?.head ?? null;
        watcher !== null;
        watcher = watcher.next as Waiter<unknown> | null
      ) {
        if (watcher instanceof ParentLink) tree.push(watcher.child);
      }
    }
    for (const token of tree) token.#watchers?.drain((watcher) => watcher.deliver(reason));
  }
}

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
   * Takes the token from the guard, which then does nothing.
   *
   * @returns The token; undefined when it was taken before or cancelled by the guard.
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

/** The link of a child to its parent or signal. */
class ParentLink extends Waiter<unknown> {
  readonly child: CancellationToken;

  constructor(child: CancellationToken) {
    super();
    this.child = child;
  }

  // Tokens tell their children directly (see `#tell`); a link is delivered by a signal alone.
  override deliver(reason: unknown): void {
    tellTree(this.child, reason);
  }
}

class TokenWaiter extends PromiseWaiter<unknown, void> {
  readonly #token: CancellationToken;

  constructor(token: CancellationToken) {
    super();
    this.#token = token;
  }

  override deliver(): void {
    this.resolve(undefined);
  }

  protected override withdraw(): boolean {
    return unwatch(this.#token, this);
  }
}

class TokenSource implements SelectSource<unknown> {
  readonly #token: CancellationToken;

  constructor(token: CancellationToken) {
    this.#token = token;
  }

  poll(slot: Slot): Poll {
    if (!this.#token.isCancelled) return PENDING;
    slot.value = this.#token.reason;
    return READY;
  }

  register(waiter: SelectWaiter): void {
    watch(this.#token, waiter);
  }

  unregister(waiter: SelectWaiter): void {
    unwatch(this.#token, waiter);
  }

  isEnded(): boolean {
    return false;
  }
}

pin(new TokenSource(new CancellationToken()), new TokenWaiter(new CancellationToken()));
printedAs(CancellationToken, 'isCancelled');
