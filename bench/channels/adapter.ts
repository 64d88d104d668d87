/**
 * The scenarios, written once over what every channel library can do. Each contender is alone in its process, so the calls through the adapter
 * are monomorphic and inlined; libraries with a runtime of their own (effect) write their scenarios themselves.
 */
import { liveHeap, type Outcome, type Scenario, type Scenarios, stopwatch } from '../harness/scenario.js';

export const BOUND = 64;
export const PRODUCERS = 16;

export interface Adapter<C> {
  /** A channel for `n` messages, unbounded when no capacity is given. */
  open(capacity: number | undefined, n: number): C;
  /** Sends without waiting. */
  push?(channel: C, value: number): void;
  /** Sends; the producer awaits what it returns. */
  send?(channel: C, value: number): unknown;
  close(channel: C): void;
  /** The ways to take what is there, each until the end or until `n` messages have come. */
  readonly drains: Readonly<Record<string, (channel: C, n: number) => Promise<Outcome>>>;
  /** Makes one more idle channel. */
  readonly create?: () => unknown;
  readonly createOneshot?: () => unknown;
}

/** The transport scenarios of a contender. */
export function transport<C>(adapter: Adapter<C>): Scenarios {
  const scenarios: Record<string, Scenario> = {};
  const { push, send } = adapter;
  for (const [mode, drain] of Object.entries(adapter.drains)) {
    if (push !== undefined) {
      scenarios[`burst/${mode}`] = async (n) => {
        const channel = adapter.open(undefined, n);
        for (let i = 0; i < n; i++) push(channel, i);
        adapter.close(channel);
        return drain(channel, n);
      };
      scenarios[`steady/${mode}`] = async (n) => {
        const channel = adapter.open(undefined, n);
        const drained = drain(channel, n);
        for (let i = 0; i < n; i++) {
          push(channel, i);
          await null;
        }
        adapter.close(channel);
        return drained;
      };
    }
    if (send !== undefined) {
      const produce = async (channel: C, from: number, to: number): Promise<void> => {
        for (let i = from; i < to; i++) await send(channel, i);
      };
      scenarios[`bounded/${mode}`] = async (n) => {
        const channel = adapter.open(BOUND, n);
        const drained = drain(channel, n);
        await produce(channel, 0, n);
        adapter.close(channel);
        return drained;
      };
      scenarios[`fan-in/${mode}`] = async (n) => {
        const channel = adapter.open(BOUND, n);
        const drained = drain(channel, n);
        const share = n / PRODUCERS;
        await Promise.all(
          Array.from({ length: PRODUCERS }, (_, index) =>
            produce(channel, Math.round(index * share), Math.round((index + 1) * share)),
          ),
        );
        adapter.close(channel);
        return drained;
      };
    }
  }
  if (adapter.create !== undefined) scenarios['create/channel'] = creating(adapter.create);
  if (adapter.createOneshot !== undefined) scenarios['create/oneshot'] = creating(adapter.createOneshot);
  return scenarios;
}

/** Makes `n` objects and holds them, for their time and their bytes. */
export function creating(create: () => unknown): Scenario {
  return async (n) => {
    const made: unknown[] = new Array(n).fill(undefined);
    const before = liveHeap();
    const stop = stopwatch();
    for (let i = 0; i < n; i++) made[i] = create();
    const times = stop();
    const bytes = (liveHeap() - before) / n;
    return { count: made.length, ...times, figures: { bytes } };
  };
}

/** Takes by `for await`. */
export async function drainIterable(iterable: AsyncIterable<number>): Promise<Outcome> {
  let count = 0;
  let sum = 0;
  for await (const value of iterable) {
    count++;
    sum += value;
  }
  return { count, sum };
}

/** As {@link drainIterable}, for what has no end of its own. */
export async function drainIterableOf(iterable: AsyncIterable<number>, n: number): Promise<Outcome> {
  let count = 0;
  let sum = 0;
  for await (const value of iterable) {
    count++;
    sum += value;
    if (count === n) break;
  }
  return { count, sum };
}

/** A client asks `n / clients` times, one call after another; all clients at once. */
export async function callAll(n: number, clients: number, call: (value: number) => Promise<number>): Promise<Outcome> {
  let count = 0;
  let sum = 0;
  const share = n / clients;
  const client = async (index: number): Promise<void> => {
    const end = Math.round((index + 1) * share);
    for (let i = Math.round(index * share); i < end; i++) {
      // Not `sum += await …`: that reads the sum before it waits, and every other client's share is lost.
      const answer = await call(i);
      sum += answer;
      count++;
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, index) => client(index)));
  return { count, sum };
}

/** Counts by arm what a select loop takes from four queues, and how evenly it served them while all were full. */
export class ArmTally {
  readonly counts = [0, 0, 0, 0];
  readonly #half: number;
  count = 0;
  sum = 0;
  fairness = 0;

  constructor(n: number) {
    this.#half = n >> 1;
  }

  add(arm: number, value: number): void {
    this.counts[arm] = (this.counts[arm] as number) + 1;
    this.sum += value;
    if (++this.count === this.#half) this.fairness = Math.min(...this.counts) / Math.max(...this.counts);
  }
}

/**
 * Runs a select loop over what four producers send, and measures what each turn leaves on the heap. With `waiting` there is one producer, which
 * sends to the queues in turn, by `send`, and lets the loop run dry between two messages.
 */
export async function selecting(
  n: number,
  waiting: boolean,
  produce: (queue: number, from: number, to: number) => Promise<void>,
  consume: (tally: ArmTally) => Promise<void>,
  send: (queue: number, value: number) => unknown,
): Promise<Outcome> {
  const tally = new ArmTally(n);
  const before = liveHeap();
  const stop = stopwatch();
  const quarter = n / 4;
  // The loop waits already when the first message comes.
  const consumed = waiting ? consume(tally) : null;
  const producers = waiting
    ? [trickle(n, send)]
    : [0, 1, 2, 3].map((queue) => produce(queue, Math.round(queue * quarter), Math.round((queue + 1) * quarter)));
  await (consumed ?? consume(tally));
  await Promise.all(producers);
  const times = stop();
  const bytes = Math.max(0, (liveHeap() - before) / n);
  return { count: tally.count, sum: tally.sum, ...times, figures: { 'bytes/turn': bytes, fairness: tally.fairness } };
}

async function trickle(n: number, send: (queue: number, value: number) => unknown): Promise<void> {
  for (let i = 0; i < n; i++) {
    // Awaited, whatever it is: one that holds a send back must be waited for.
    await send(i & 3, i);
    for (let hop = 0; hop < 3; hop++) await null;
  }
}
