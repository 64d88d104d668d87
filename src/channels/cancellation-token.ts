/**
 * Invariants:
 * - A token is cancelled when it or an ancestor is. Being cancelled is for ever; its reason is that of the first.
 * - A child hangs on its parent only while somebody waits on it or below it, or while its `signal` is in use: a token that nobody waits on costs
 *   its ancestors nothing, and goes when its last reference goes.
 * - All of a tree is cancelled before anybody is told: who is told sees every descendant cancelled.
 */
import { addAbortListener, describeReceived, removeAbortListener, requireSignal } from '../core/index.js';
import { markHandled, ready, readyVoid, rejected } from './internal/budget.js';
import { printedAs } from './internal/inspect.js';
import { signalOf, type WaitOptions } from './internal/wait.js';
import { pin } from './internal/pinned.js';
import { runUntilStopped } from './internal/stoppable.js';
import { PromiseWaiter, unlink, Waiter, WaiterList } from './internal/waiters.js';
import {
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from './select/selectable.js';

/** What {@link CancellationToken.runUntilCancelled} came to. */
export type UntilCancelled<R> =
  | { readonly state: 'ok'; readonly value: R }
  | { readonly state: 'cancelled'; readonly reason: unknown };

const STOPPED = Symbol('stopped');

let watch: (token: CancellationToken, watcher: Waiter<unknown>) => void;
let tellTree: (token: CancellationToken, reason: unknown) => void;
let unwatch: (token: CancellationToken, watcher: Waiter<unknown>) => boolean;

/**
 * A request to stop, after `tokio_util::sync::CancellationToken`: cancelled once and for ever, seen by all who hold it, and handed down to its
 * children.
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
  #follower: SignalFollower | null = null;

  static {
    watch = (token, watcher) => token.#watch(watcher);
    unwatch = (token, watcher) => token.#unwatch(watcher);
    tellTree = (token, reason) => {
      if (!token.#cancelled) token.#tell(reason);
    };
  }

  /**
   * A token that is cancelled when a signal fires. Cancelling it by hand leaves the signal alone.
   *
   * @param signal Any `AbortSignal`. A listener is on it only while somebody waits on the token.
   */
  static fromSignal(signal: AbortSignal): CancellationToken {
    requireSignal('Cannot create token', signal);
    const token = new CancellationToken();
    token.#origin = signal;
    return token;
  }

  /** Whether it, or a token above it, is cancelled. */
  get isCancelled(): boolean {
    return this.#source() !== null;
  }

  /** What it was cancelled with, if it was. */
  get reason(): unknown {
    const source = this.#source();
    if (source === null) return undefined;
    return source.#cancelled ? source.#reason : source.#origin?.reason;
  }

  /**
   * The token as an `AbortSignal`: the same one every time, aborted with the reason (an `AbortError` when there is none).
   *
   * Until the token is cancelled or disposed of, a child whose signal was asked for is held by its parent.
   */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      const controller = new AbortController();
      this.#controller = controller;
      if (this.isCancelled) {
        controller.abort(this.reason);
      } else {
        this.#follower = new SignalFollower(controller);
        this.#watch(this.#follower);
      }
    }
    return this.#controller.signal;
  }

  /**
   * Cancels the token and all its descendants, and wakes everybody who waits on one of them. A second call does nothing.
   *
   * @param reason What `reason`, `signal.reason` and a winning arm give.
   */
  cancel(reason?: unknown): void {
    if (this.isCancelled) return;
    this.#cancelled = true;
    this.#reason = reason;
    this.#unhang();
    this.#tell(reason);
  }

  /**
   * Waits until the token is cancelled; resolves at once when it is.
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

  /** A new token that is cancelled with this one, and can be cancelled without it. That of a cancelled token is born cancelled. */
  childToken(): CancellationToken {
    const child = new CancellationToken();
    child.#parent = this;
    return child;
  }

  /** The same token: tokens are shared by reference. */
  clone(): this {
    return this;
  }

  /**
   * Runs an operation until it settles or the token is cancelled. A promise or thenable that it gives is followed, as by any promise.
   *
   * **Cancel safety:** the operation goes on unless it heeds the signal it is given; its result is lost.
   *
   * @param operation A promise, or a function that gets a signal, aborted when the token is cancelled. It is not called when the token is
   * cancelled already.
   * @returns `{ state: 'ok', value }` with what the operation gives, or `{ state: 'cancelled', reason }` when the token was cancelled first.
   * @throws Whatever the operation throws (rejects), unless the token was cancelled first.
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
      // Nobody else may be left to hear of its failure.
      if (typeof operation !== 'function') markHandled(operation);
      return ready(this.#ranOut());
    }
    const listen = (stop: (reason: unknown) => void): (() => void) => {
      const watcher = new Stopper(stop);
      this.#watch(watcher);
      return () => void this.#unwatch(watcher);
    };
    return runUntilStopped<R | typeof STOPPED>(operation, listen, (_reason, resolve) => resolve(STOPPED)).then(
      (value) => (value === STOPPED ? this.#ranOut() : { state: 'ok', value }),
    );
  }

  /** A guard that cancels this token at the end of a scope. */
  dropGuard(): DropGuard {
    return new DropGuard(this);
  }

  /** How `select` looks at it. */
  selectSource(): SelectSource<unknown> {
    return new TokenSource(this);
  }

  /**
   * Lets go of the token without cancelling anything: its own `signal` no longer follows the tokens above it. Waits go on. For children whose
   * `signal` was used; others need no disposal.
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

  // The nearest cancelled token upwards, itself included.
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

  // Iterative: a tree may be deep. All tokens hear of it, and only then those who wait, who are still in their lists: being told may settle
  // others among them.
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

/** How a child hangs on what is above it. */
class ParentLink extends Waiter<unknown> {
  readonly child: CancellationToken;

  constructor(child: CancellationToken) {
    super();
    this.child = child;
  }

  // What hangs on a token hears of it before those who wait; only a signal tells it here.
  override deliver(reason: unknown): void {
    tellTree(this.child, reason);
  }

  override end(): void {}

  override fail(): void {}
}

/** Aborts the `signal` of a token. */
class SignalFollower extends Waiter<unknown> {
  readonly #controller: AbortController;

  constructor(controller: AbortController) {
    super();
    this.#controller = controller;
  }

  override deliver(reason: unknown): void {
    this.#controller.abort(reason);
  }

  override end(): void {}

  override fail(): void {}
}

/** Calls back when a token is cancelled. */
class Stopper extends Waiter<unknown> {
  readonly #stop: (reason: unknown) => void;

  constructor(stop: (reason: unknown) => void) {
    super();
    this.#stop = stop;
  }

  override deliver(reason: unknown): void {
    this.#stop(reason);
  }

  override end(): void {}

  override fail(): void {}
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

  override end(): void {}

  protected override withdraw(): boolean {
    return unwatch(this.#token, this);
  }
}

/** A token as an arm. */
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
