/**
 * One channel under arbitrary orders of everything that can be done to it, and the account that must balance in the end:
 *
 * - every value that was accepted is received once or handed to `onUndelivered` once; every other value comes back in an error or stays out;
 * - values arrive in the order in which they were accepted, for sends, for permits and within each batch, as seen by each way of receiving;
 * - every wait settles once nothing stands in its way, and every slot is free again.
 */
import {
  CancellationToken,
  createSelector,
  FullError,
  mpsc,
  reserving,
  SendError,
  select,
  withEnd,
} from '../../../src/channels/index.js';
import { drained } from '../../support/settlement.js';
import { check, pick, take, weighted } from './world.js';

const END = 'the end';

type Step = (which: number, sender: mpsc.Sender<number> | undefined) => unknown;

export class ChannelWorld {
  readonly #capacity: number;
  readonly #rx: mpsc.Receiver<number>;
  readonly #senders: mpsc.Sender<number>[];
  readonly #permits: mpsc.Permit<number>[] = [];
  readonly #batches: mpsc.PermitIterator<number>[] = [];
  readonly #owned: mpsc.OwnedPermit<number>[] = [];
  readonly #weak: mpsc.WeakSender<number>[] = [];
  readonly #iterators: AsyncIterableIterator<number, undefined>[] = [];
  readonly #controllers: AbortController[] = [];
  readonly #tokens: CancellationToken[] = [];
  readonly #accepted = new Set<number>();
  /** What was received, by each way whose results come in the order in which it took the values. */
  readonly #received: number[][] = [];
  readonly #tried: number[] = [];
  readonly #awaited: number[] = [];
  readonly #lost: number[] = [];
  readonly #waits = new Set<Promise<unknown>>();
  /** Values of plain sends. */
  readonly #sent = new Set<number>();
  readonly #batchOf = new Map<number, readonly number[]>();
  #next = 0;
  #failure: Error | undefined;

  constructor(capacity: number) {
    const [tx, rx] = mpsc.channel<number>(capacity, { onUndelivered: (value) => this.#lost.push(value) });
    this.#capacity = capacity;
    this.#rx = rx;
    this.#senders = [tx];
    this.#received.push(this.#tried, this.#awaited);
  }

  /** What a command may do, as often as its weight says: with a number that says on what, and with a sender, if one is open. */
  readonly #steps: readonly Step[] = weighted<Step>([
    [4, (which, tx) => tx && this.#send(tx, this.#maybeSignal(which))],
    [2, (_, tx) => tx && this.#trySend(tx)],
    [2, (which, tx) => tx && this.#keep(tx.reserve(this.#maybeSignal(which)), this.#permits)],
    [1, (which) => this.#usePermit(which)],
    [1, (which) => take(this.#permits, which)?.release()],
    [1, (which, tx) => tx && this.#reserveMany(tx, which)],
    [1, (which) => this.#useBatch(which)],
    [1, (which) => take(this.#batches, which)?.release()],
    [1, (which, tx) => tx && this.#reserveOwned(tx.clone(), this.#maybeSignal(which))],
    [1, (which) => this.#useOwned(which)],
    [4, (which) => this.#receive(this.#rx.recv(this.#maybeSignal(which)))],
    [2, () => this.#tryReceive()],
    [2, (which) => this.#receiveMany(this.#rx.recvMany(which % 5, this.#maybeSignal(which)))],
    [1, (which) => this.#next1(which)],
    [1, (which) => void take(this.#iterators, which)?.return?.()],
    [2, (which) => take(this.#controllers, which)?.abort(END)],
    [1, (_, tx) => tx && this.#senders.push(tx.clone())],
    [1, (which) => this.#senders.length > 1 && take(this.#senders, which)?.close()],
    [3, (which, tx) => this.#select(tx, which)],
    [1, (which) => take(this.#tokens, which)?.cancel(END)],
    [1, (which, tx) => tx && this.#sendMany(tx, which)],
    [1, (_, tx) => tx && this.#weak.push(tx.downgrade())],
    [1, (which) => this.#senders.push(...[take(this.#weak, which)?.upgrade()].filter((tx) => tx !== undefined))],
    [1, (which) => this.#end(which)],
  ]);

  /** Runs one command: a number, of which the lower digits say what and the higher ones on what. */
  async run(command: number): Promise<void> {
    const step = this.#steps[command % 40];
    const which = Math.floor(command / 40);
    if (step !== undefined) step(which, pick(this.#senders, which));
    else for (let ticks = which % 7; ticks > 0; ticks--) await undefined;
  }

  #tryReceive(): boolean {
    const found = this.#rx.tryRecv();
    if (found.state === 'ok') this.#tried.push(found.value);
    return found.state === 'closed';
  }

  #reserveMany(sender: mpsc.Sender<number>, which: number): void {
    this.#keep(sender.reserveMany(which % (this.#capacity + 1), this.#maybeSignal(which)), this.#batches);
  }

  // Rare, for little happens afterwards.
  #end(which: number): void {
    if (which % 61 === 0) this.#rx.close();
    else if (which % 61 === 1) this.#rx[Symbol.dispose]();
    else if (which % 61 === 2) this.#closeSenders();
  }

  #closeSenders(): void {
    for (const each of this.#senders.splice(0)) each.close();
  }

  /** Gives back every slot that is held, and closes every sender. */
  #letGo(): void {
    for (const permit of this.#permits.splice(0)) permit.release();
    for (const batch of this.#batches.splice(0)) batch.release();
    for (const owned of this.#owned.splice(0)) owned[Symbol.dispose]();
    this.#closeSenders();
  }

  /** Removes whatever stands in the way, and checks the account. */
  async settle(): Promise<void> {
    for (const iterator of this.#iterators) void iterator.return?.();
    this.#letGo();
    // What waited for slots gets them now, and lets go of them at once.
    for (let round = 0; round < 1000; round++) {
      const left = this.#rx.len;
      // A receiver that was disposed has ended though slots are still held.
      const isOver = this.#tryReceive() && this.#waits.size === 0 && this.#rx.capacity === this.#capacity;
      if (isOver) break;
      if (left === 0) await drained();
      this.#letGo();
    }
    await drained();
    if (this.#failure !== undefined) throw this.#failure;
    check(this.#waits.size === 0, `${this.#waits.size} waits are lost`);
    check(this.#rx.capacity === this.#capacity, `${this.#capacity - this.#rx.capacity} slots are lost`);
    check(this.#rx.senderStrongCount === 0, `${this.#rx.senderStrongCount} senders are left`);
    const arrived = [...this.#received.flat(), ...this.#lost];
    check(new Set(arrived).size === arrived.length, `a value arrived twice: ${arrived.join(' ')}`);
    check(arrived.length === this.#accepted.size, `${this.#accepted.size} accepted, ${arrived.length} arrived`);
    for (const value of arrived) check(this.#accepted.has(value), `${value} arrived and was never accepted`);
    for (const sequence of this.#received) this.#checkOrder(sequence);
    this.#checkOrder(this.#lost);
  }

  #checkOrder(sequence: readonly number[]): void {
    const lastOf = new Map<unknown, number>();
    for (const value of sequence) {
      const group = this.#batchOf.get(value) ?? this.#sent.has(value);
      check(value > (lastOf.get(group) ?? -1), `out of order: ${sequence.join(' ')}`);
      lastOf.set(group, value);
    }
  }

  #maybeSignal(which: number): { signal?: AbortSignal } | undefined {
    if (which % 3 !== 0) return undefined;
    const controller = which % 2 === 0 ? this.#controllers.at(-1) : undefined;
    if (controller !== undefined) return { signal: controller.signal };
    const fresh = new AbortController();
    this.#controllers.push(fresh);
    return { signal: fresh.signal };
  }

  #track(wait: Promise<unknown>): void {
    const tracked: Promise<unknown> = wait.then(
      () => this.#waits.delete(tracked),
      (error) => {
        this.#waits.delete(tracked);
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
      },
    );
    this.#waits.add(tracked);
  }

  #send(sender: mpsc.Sender<number>, options: { signal?: AbortSignal } | undefined): void {
    const value = this.#next++;
    this.#sent.add(value);
    this.#track(
      sender.send(value, options).then(
        () => void this.#accepted.add(value),
        (error) => check(error === END || (error instanceof SendError && error.value === value), `bad: ${error}`),
      ),
    );
  }

  #trySend(sender: mpsc.Sender<number>): void {
    const value = this.#next++;
    this.#sent.add(value);
    try {
      sender.trySend(value);
      this.#accepted.add(value);
    } catch (error) {
      check((error instanceof FullError || error instanceof SendError) && error.value === value, `bad: ${error}`);
    }
  }

  #sendMany(sender: mpsc.Sender<number>, which: number): void {
    const values = Array.from({ length: which % 6 }, () => this.#next++);
    const iterator = values.values();
    const taken: number[] = [];
    const source = {
      [Symbol.iterator]: () => ({
        next: () => {
          const next = iterator.next();
          if (!next.done) taken.push(next.value);
          return next;
        },
      }),
    };
    this.#track(
      sender.sendMany(source, this.#maybeSignal(which)).then(
        (sent) => {
          check(sent === values.length, `${sent} sent of ${values.length}`);
          for (const value of values) this.#accepted.add(value);
        },
        (error) => {
          const left = error instanceof SendError ? (error.value as number[]) : [];
          check(error === END || error instanceof SendError, `bad: ${error}`);
          for (const value of taken) if (!left.includes(value)) this.#accepted.add(value);
        },
      ),
    );
    // Each gets its place when it gets its slot, so a batch is in order only within itself.
    for (const value of values) this.#batchOf.set(value, values);
  }

  #keep<P extends { release(): unknown }>(wait: Promise<P>, into: P[]): void {
    this.#track(
      wait.then(
        (permit) => void into.push(permit),
        (error) => check(error === END || error instanceof SendError, `bad: ${error}`),
      ),
    );
  }

  #reserveOwned(sender: mpsc.Sender<number>, options: { signal?: AbortSignal } | undefined): void {
    this.#track(
      sender.reserveOwned(options).then(
        (permit) => void this.#owned.push(permit),
        (error) => {
          check(error === END || error instanceof SendError, `bad: ${error}`);
          sender.close();
        },
      ),
    );
  }

  #usePermit(which: number): void {
    const permit = take(this.#permits, which);
    if (permit === undefined) return;
    const value = this.#next++;
    this.#accepted.add(value);
    permit.send(value);
  }

  #useBatch(which: number): void {
    const next = pick(this.#batches, which)?.next();
    if (next !== undefined && !next.done) this.#permits.push(next.value);
  }

  #useOwned(which: number): void {
    const owned = take(this.#owned, which);
    if (owned === undefined) return;
    if (which % 2 === 0) {
      this.#senders.push(owned.release());
      return;
    }
    const value = this.#next++;
    this.#accepted.add(value);
    this.#senders.push(owned.send(value));
  }

  #receive(wait: Promise<IteratorResult<number, undefined>>): void {
    this.#track(
      wait.then(
        (result) => void (result.done || this.#awaited.push(result.value)),
        (error) => check(error === END, `bad: ${error}`),
      ),
    );
  }

  #receiveMany(wait: Promise<number[]>): void {
    this.#track(
      wait.then(
        (values) => void this.#received.push(values),
        (error) => check(error === END, `bad: ${error}`),
      ),
    );
  }

  #next1(which: number): void {
    if (which % 3 === 0 || this.#iterators.length === 0)
      this.#iterators.push(this.#rx[Symbol.asyncIterator]() as never);
    const iterator = pick(this.#iterators, which);
    if (iterator !== undefined) this.#receive(iterator.next());
  }

  #select(sender: mpsc.Sender<number> | undefined, which: number): void {
    const stop = new CancellationToken();
    this.#tokens.push(stop);
    const arms = {
      item: which % 2 === 0 && this.#rx,
      end: withEnd(this.#rx),
      room: which % 5 === 0 && sender !== undefined && reserving(sender),
      done: which % 7 === 0 && Promise.resolve(),
      stop,
    };
    const options = this.#maybeSignal(which);
    const wait = which % 11 < 5 ? createSelector(arms).next(options) : select(arms, options ?? {});
    this.#track(
      wait.then(
        (event) => {
          if (event.arm === 'item') this.#received.push([event.value]);
          else if (event.arm === 'end' && !event.value.done) this.#received.push([event.value.value]);
          else if (event.arm === 'room') this.#permits.push(event.value);
        },
        (error) => check(error === END, `bad: ${error}`),
      ),
    );
  }
}
