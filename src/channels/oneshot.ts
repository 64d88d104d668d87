/**
 * A channel for one value, after `tokio::sync::oneshot`: the reply to a request.
 *
 * Invariants:
 * - States only advance: open to sent, dropped or closed; any of them to taken. Leaving `open` tells every waiter.
 * - The receiver is the shared core, and the sender a reference to it: a pair costs two small objects until a wait begins.
 * - `slot` holds the waiters while the channel is open, the value once it is sent, and nothing afterwards. Waiters for the value to be taken are in a
 *   record with the value.
 */
import { RecvError } from './errors.js';
import { ready, readyVoid, rejected } from './internal/budget.js';
import { printedAs } from './internal/inspect.js';
import { signalOf, type TryRecvResult, type WaitOptions } from './internal/wait.js';
import { pin } from './internal/pinned.js';
import { PromiseWaiter, ValueWaiter, unlink, type Waiter, WaiterList } from './internal/waiters.js';
import {
  ENDED,
  PENDING,
  type Poll,
  READY,
  type Selectable,
  type SelectSource,
  type SelectWaiter,
  type Slot,
} from './select/selectable.js';

const OPEN = 0;
const SENT = 1;
/** The outcome, a value or the news that none will come, was taken. */
const TAKEN = 2;
/** The sender closed without sending. */
const DROPPED = 3;
/** The receiver closed before a value was sent. */
const CLOSED = 4;

type State = typeof OPEN | typeof SENT | typeof TAKEN | typeof DROPPED | typeof CLOSED;

let sendInto: <T>(receiver: Receiver<T>, value: T) => boolean;
let dropSenderOf: (receiver: Receiver<never>) => void;
let hasSettled: (receiver: Receiver<never>) => boolean;
let isAbandoned: (receiver: Receiver<never>) => boolean;
let lookAt: (receiver: Receiver<never>, slot: Slot) => Poll;
let waitersOf: <T>(receiver: Receiver<T>) => WaiterList<Waiter<T>> | null;
let endingsOf: (receiver: Receiver<never>) => WaiterList<Waiter<void>>[];
let waitForClose: (receiver: Receiver<never>, signal: AbortSignal | undefined) => Promise<void>;

/**
 * Makes a channel for one value.
 *
 * @returns The sender and the receiver.
 * @example
 * ```ts
 * const [reply, answer] = oneshot.channel<number>();
 * reply.send(42); // => true
 * await answer.recv(); // => 42
 * ```
 */
export function channel<T>(): [Sender<T>, Receiver<T>] {
  const receiver = new Receiver<T>();
  return [new Sender(receiver), receiver];
}

/** The sending half of a channel for one value. */
export class Sender<in T> implements Disposable {
  // `never`: the sender takes no value out of it.
  readonly #receiver: Receiver<never>;

  /** @internal */
  constructor(receiver: Receiver<T>) {
    this.#receiver = receiver as Receiver<never>;
  }

  /** Whether a value can no longer be taken: the receiver has closed or is gone, or has taken it. */
  get isClosed(): boolean {
    return isAbandoned(this.#receiver);
  }

  /**
   * Sends the value. Only the first send counts.
   *
   * @param value Any value.
   * @returns False when the value was not sent: the receiver has closed, a value was sent before, or this sender is closed.
   */
  send(value: T): boolean {
    return sendInto<T>(this.#receiver, value);
  }

  /**
   * Waits until the receiver closes or is gone before a value was sent; resolves at once ever after. Use it to stop work whose result is not awaited
   * any more.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options A signal that abandons the wait.
   */
  closed(options?: WaitOptions): Promise<void> {
    const signal = signalOf('Cannot wait for the close', options);
    if (signal?.aborted) return rejected(signal.reason);
    return waitForClose(this.#receiver, signal);
  }

  /** Closes the sender: the receiver's wait rejects with a `RecvError`. After a send it does nothing. */
  close(): void {
    if (!hasSettled(this.#receiver)) dropSenderOf(this.#receiver);
  }

  /** Does what {@link Sender.close} does. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The waiters for the value and, beside them, the waiters for the receiver to go. */
class Waits<T> extends WaiterList<Waiter<T>> {
  closing: WaiterList<Waiter<void>> | null = null;
}

/** A value that was sent, and the waiters for it to be taken. */
class Watched<T> {
  readonly value: T;
  readonly takings: WaiterList<Waiter<void>>;

  constructor(value: T, takings: WaiterList<Waiter<void>>) {
    this.value = value;
    this.takings = takings;
  }
}

class ReplyWaiter<T> extends PromiseWaiter<T, T> {
  override deliver(value: T): void {
    this.resolve(value);
  }

  override end(): void {
    this.fail(closedError());
  }
}

/**
 * The receiving half of a channel for one value.
 *
 * As an arm of `select` it wins with the value, and is disabled when none will come or it was taken.
 */
export class Receiver<T> implements Selectable<T>, Disposable {
  #state: State = OPEN;
  #slot: T | Waits<T> | Watched<T> | null = null;

  static {
    sendInto = (receiver, value) => receiver.#send(value);
    dropSenderOf = (receiver) => receiver.#giveUp(DROPPED);
    hasSettled = (receiver) => receiver.#state !== OPEN;
    isAbandoned = (receiver) => receiver.#state === CLOSED || receiver.#state === TAKEN;
    lookAt = (receiver, slot) => receiver.#look(slot);
    waitersOf = (receiver) => (receiver.#state === OPEN ? receiver.#waiters() : null);
    endingsOf = (receiver) => receiver.#endings();
    waitForClose = (receiver, signal) => receiver.#waitForClose(signal);
  }

  /** Whether no value can be taken now. */
  get isEmpty(): boolean {
    return this.#state !== SENT;
  }

  /** Whether the outcome, a value or the news that none will come, was taken. */
  get isTerminated(): boolean {
    return this.#state === TAKEN;
  }

  /**
   * Waits for the value.
   *
   * The promise resolves with the value and so follows a promise or thenable; `tryRecv` and `select` give it as it is.
   *
   * **Cancel safety:** cancel safe. An aborted wait leaves the value for the next.
   *
   * @param options A signal that abandons the wait.
   * @throws RecvError (rejects) When the sender closed without sending, this receiver was closed before, or the value was taken.
   */
  recv(options?: WaitOptions): Promise<T> {
    const signal = signalOf('Cannot receive', options);
    if (signal?.aborted) return rejected(signal.reason);
    if (this.#state === SENT) return ready(this.#take());
    if (this.#state !== OPEN) {
      this.#state = TAKEN;
      return rejected(closedError());
    }
    const waiter = new ReplyWaiter<T>();
    this.#waiters().push(waiter);
    return waiter.until(signal);
  }

  /**
   * Takes the value, without waiting.
   *
   * @returns `{ state: 'ok', value }` once, `{ state: 'empty' }` before the send, `{ state: 'closed' }` when none will come.
   */
  tryRecv(): TryRecvResult<T> {
    if (this.#state === SENT) return { state: 'ok', value: this.#take() };
    if (this.#state === OPEN) return { state: 'empty' };
    this.#state = TAKEN;
    return { state: 'closed' };
  }

  /** Refuses a value that was not sent yet, and tells the sender. A value that was sent can still be received. */
  close(): void {
    if (this.#state === OPEN) this.#giveUp(CLOSED);
  }

  /** Closes the receiver, and drops the value. */
  [Symbol.dispose](): void {
    this.close();
    if (this.#state === SENT) this.#take();
  }

  /** The receiver as an arm of `select`. */
  selectSource(): SelectSource<T> {
    return new ReceiverSource(this);
  }

  #look(slot: Slot): Poll {
    if (this.#state === OPEN) return PENDING;
    if (this.#state !== SENT) return ENDED;
    slot.value = this.#take();
    return READY;
  }

  #waiters(): Waits<T> {
    this.#slot ??= new Waits<T>();
    return this.#slot as Waits<T>;
  }

  #closing(): WaiterList<Waiter<void>> {
    const waits = this.#waiters();
    waits.closing ??= new WaiterList();
    return waits.closing;
  }

  #send(value: T): boolean {
    if (this.#state !== OPEN) return false;
    const waits = this.#slot as Waits<T> | null;
    const first = waits === null ? null : waits.shift();
    this.#state = first === null ? SENT : TAKEN;
    this.#slot = first === null ? value : null;
    if (first !== null) {
      first.deliver(value);
      waits?.drain((waiter) => waiter.end());
    }
    waits?.closing?.drain((waiter) => waiter.end());
    return true;
  }

  #take(): T {
    const slot = this.#slot as T | Watched<T>;
    this.#slot = null;
    this.#state = TAKEN;
    if (!(slot instanceof Watched)) return slot;
    slot.takings.drain((waiter) => waiter.end());
    return slot.value;
  }

  /** The queues to wait in for the end: the value is taken, or none will come. */
  #endings(): WaiterList<Waiter<void>>[] {
    if (this.#state === OPEN) return [this.#closing()];
    if (this.#state !== SENT) return [];
    const watched = this.#slot instanceof Watched ? this.#slot : new Watched(this.#slot as T, new WaiterList());
    this.#slot = watched;
    return [watched.takings];
  }

  #giveUp(state: typeof DROPPED | typeof CLOSED): void {
    this.#state = state;
    const waits = this.#slot as Waits<T> | null;
    this.#slot = null;
    if (waits === null) return;
    if (waits.head !== null) {
      this.#state = TAKEN;
      waits.drain((waiter) => waiter.end());
    }
    waits.closing?.drain((waiter) => waiter.deliver());
  }

  #waitForClose(signal: AbortSignal | undefined): Promise<void> {
    if (this.#state !== OPEN) return readyVoid();
    const waiter = new ValueWaiter<void>();
    this.#closing().push(waiter);
    return waiter.until(signal);
  }
}

class ReceiverSource<T> implements SelectSource<T> {
  readonly #receiver: Receiver<T>;

  constructor(receiver: Receiver<T>) {
    this.#receiver = receiver;
  }

  poll(slot: Slot): Poll {
    return lookAt(this.#receiver as Receiver<never>, slot);
  }

  register(waiter: SelectWaiter): void {
    waitersOf(this.#receiver)?.push(waiter);
  }

  unregister(waiter: SelectWaiter): void {
    unlink(waiter);
  }

  endings(): WaiterList<Waiter<void>>[] {
    return endingsOf(this.#receiver as Receiver<never>);
  }

  isEnded(): boolean {
    return hasSettled(this.#receiver as Receiver<never>) && this.#receiver.isEmpty;
  }
}

function closedError(): RecvError {
  return new RecvError('Cannot receive: the channel is closed');
}

pin(...channel(), new ReplyWaiter(), new Waits());
printedAs(Receiver, 'isEmpty', 'isTerminated');
