/**
 * Selects over arms of every kind at once, under arbitrary orders of what wakes, ends, aborts and leaves them, and the account in the end:
 *
 * - a value of a queue or a oneshot, a notification and a permit is had once: by an event, or still where it was;
 * - values of one queue and of one broadcast receiver come in order, and a broadcast receiver misses none;
 * - every turn settles once nothing stands in its way, and leaves no listener and no timer.
 */
import { getEventListeners } from 'node:events';
import {
  acquiring,
  broadcast,
  CancellationToken,
  createSelector,
  mpsc,
  Notify,
  oneshot,
  reserving,
  type Selectable,
  type Selector,
  Semaphore,
  type SemaphorePermit,
  SimulatedClock,
  select,
  sleep,
  watch,
  withEnd,
} from '../../../src/channels/index.js';
import { drained } from '../../support/settlement.js';
import { check, take, weighted } from './world.js';

const QUEUES = ['first', 'second', 'third'] as const;
const NAMES = [
  ...QUEUES,
  'end',
  'room',
  'config',
  'events',
  'poke',
  'slot',
  'answer',
  'timer',
  'child',
  'promise',
  'nested',
] as const;
type Name = (typeof NAMES)[number];
type Queue = readonly [mpsc.UnboundedSender<number> | mpsc.Sender<number>, mpsc.Receiver<number>];
type Event = { readonly arm: string | null; readonly value?: unknown };

type Step = (which: number) => unknown;

interface Chosen {
  readonly selector: Selector<Record<string, Selectable<unknown>>>;
  readonly names: readonly string[];
}

export class SelectWorld {
  readonly #clock = new SimulatedClock();
  readonly #queues = QUEUES.map((_, at) =>
    at === 0 ? mpsc.unboundedChannel<number>() : mpsc.channel<number>(at + 1),
  ) as readonly Queue[];
  readonly #ending = mpsc.channel<number>(2);
  readonly #room = mpsc.channel<number>(1);
  readonly #watch = watch.channel(0);
  readonly #events = broadcast.channel<number>(10_000);
  readonly #poke = new Notify();
  readonly #slots = new Semaphore(1);
  readonly #parent = new CancellationToken();
  readonly #stop = new CancellationToken();
  readonly #timer = sleep(50, { clock: this.#clock });
  readonly #promise = new Promise<number>(() => {});
  #reply: oneshot.Sender<number>;
  #answer: oneshot.Receiver<number>;
  readonly #arms: Record<Name, never>;
  readonly #selectors: Chosen[] = [];
  readonly #controllers: AbortController[] = [];
  readonly #waits = new Set<Promise<unknown>>();
  readonly #seen: number[][] = QUEUES.map(() => []);
  readonly #sent = QUEUES.map(() => 0);
  readonly #endingSeen: number[] = [];
  readonly #heard: number[] = [];
  readonly #permits: SemaphorePermit[] = [];
  #total = 1;
  #endingSent = 0;
  #eventsSent = 0;
  #roomSent = 0;
  #roomSeen = 0;
  #pokes = 0;
  #poked = 0;
  #answers = 0;
  #replies = 0;
  readonly #configs: number[] = [];
  #config = 0;
  #failure: Error | undefined;

  constructor() {
    [this.#reply, this.#answer] = oneshot.channel<number>();
    this.#arms = this.#makeArms() as Record<Name, never>;
  }

  #makeArms(): Record<Name, unknown> {
    const [first, second, third] = this.#queues.map(([, rx]) => rx);
    return {
      first,
      second,
      third,
      end: withEnd(this.#ending[1]),
      room: reserving(this.#room[0]),
      config: this.#watch[1],
      events: this.#events[1],
      poke: this.#poke,
      slot: acquiring(this.#slots, 2),
      answer: this.#answer,
      timer: this.#timer,
      child: this.#parent.childToken(),
      promise: this.#promise,
      nested: createSelector({ first: first as mpsc.Receiver<number>, poke: this.#poke }),
    };
  }

  readonly #steps: readonly Step[] = weighted<Step>([
    [5, (which) => this.#select(which)],
    [3, (which) => this.#next(which)],
    [2, (which) => this.#sendTo(which % QUEUES.length)],
    [1, (which) => this.#drain(this.#queues[which % QUEUES.length]?.[1], this.#seen[which % QUEUES.length], 1)],
    [1, (which) => this.#sendToEnding(which)],
    [1, () => this.#room[1].tryRecv().state === 'ok' && this.#roomSeen++],
    [1, () => this.#watch[0].send(++this.#config)],
    [1, () => this.#events[0].send(this.#eventsSent++)],
    [1, () => this.#notify()],
    [1, (which) => this.#releaseSlot(which)],
    [1, () => this.#reply.send(1) && this.#replies++],
    [1, (which) => this.#clock.advance(which % 30)],
    [1, (which) => this.#timer.reset(which % 60)],
    [1, (which) => take(this.#controllers, which)?.abort('given up')],
  ]);

  async run(command: number): Promise<void> {
    const step = this.#steps[command % 24];
    const which = Math.floor(command / 24);
    if (step === undefined) for (let hops = which % 5; hops > 0; hops--) await undefined;
    else {
      const running = step(which);
      // Time is moved before anything else happens.
      if (running instanceof Promise) await running;
    }
  }

  #sendTo(queue: number): void {
    const [tx, rx] = this.#queues[queue] as Queue;
    if (rx.capacity === 0) return;
    const value = this.#sent[queue] as number;
    void ('trySend' in tx ? tx.trySend(value) : tx.send(value));
    this.#sent[queue] = value + 1;
  }

  #sendToEnding(which: number): void {
    if (this.#ending[0].capacity > 0 && !this.#ending[0].isClosed) this.#ending[0].trySend(this.#endingSent++);
    if (which % 37 === 0) this.#ending[0].close();
  }

  #notify(): void {
    this.#poke.notifyOne();
    this.#pokes++;
  }

  #releaseSlot(which: number): void {
    take(this.#permits, which)?.release();
    if (which % 5 !== 0) return;
    this.#slots.addPermits(1);
    this.#total++;
  }

  /** Takes what a receiver has, up to a limit. */
  #drain(
    rx: { tryRecv(): { readonly state: string; readonly value?: number } } | undefined,
    into: number[] | undefined,
    limit = Number.POSITIVE_INFINITY,
  ): void {
    for (let left = limit, found = rx?.tryRecv(); left > 0 && found?.state === 'ok'; left--) {
      into?.push(found.value as number);
      if (left > 1) found = rx?.tryRecv();
    }
  }

  #subset(which: number): Partial<Record<Name, never>> {
    const arms: Partial<Record<Name, never>> = {};
    for (const [at, name] of NAMES.entries()) if ((which >>> at) % 2 === 1) arms[name] = this.#arms[name];
    return arms;
  }

  #select(which: number): void {
    const arms = { ...this.#subset(which), stop: this.#stop };
    this.#track(select(arms, { biased: which % 3 === 0, ...this.#signal(which) }));
  }

  #next(which: number): void {
    if (this.#selectors.length < 4) {
      const arms = { ...this.#subset(which), stop: this.#stop };
      const selector = createSelector(arms, which % 2 === 0 ? {} : { seed: which });
      this.#selectors.push({ selector: selector as unknown as Chosen['selector'], names: Object.keys(arms) });
    }
    const { selector, names } = this.#selectors[which % this.#selectors.length] as Chosen;
    // The stop stays on: it must be able to end the turn.
    const off = names.filter((name, at) => name !== 'stop' && (which >>> at) % 3 === 0);
    this.#track(selector.next({ off: which % 4 === 0 ? (off as never[]) : undefined, ...this.#signal(which) }));
  }

  #signal(which: number): { signal?: AbortSignal } {
    if (which % 5 > 1) return {};
    const controller = new AbortController();
    this.#controllers.push(controller);
    return { signal: controller.signal };
  }

  #track(wait: Promise<Event>): void {
    const tracked: Promise<unknown> = wait.then(
      (event) => {
        this.#waits.delete(tracked);
        this.#account(event);
      },
      (error) => {
        this.#waits.delete(tracked);
        if (error !== 'given up') this.#failure ??= error instanceof Error ? error : new Error(String(error));
      },
    );
    this.#waits.add(tracked);
  }

  #account({ arm, value }: Event): void {
    const queue = QUEUES.indexOf(arm as (typeof QUEUES)[number]);
    if (queue >= 0) this.#seen[queue]?.push(value as number);
    else if (arm === 'nested') this.#account(value as Event);
    else if (arm === 'end') {
      const result = value as IteratorResult<number, undefined>;
      if (!result.done) this.#endingSeen.push(result.value);
    } else if (arm === 'room') {
      (value as mpsc.Permit<number>).send(this.#roomSent++);
    } else if (arm === 'events') this.#heard.push(value as number);
    else if (arm === 'poke') this.#poked++;
    else if (arm === 'slot') this.#permits.push(value as SemaphorePermit);
    else if (arm === 'answer') this.#answers++;
    else if (arm === 'config') this.#configs.push(value as number);
  }

  async settle(): Promise<void> {
    this.#stop.cancel();
    await drained();
    if (this.#failure !== undefined) throw this.#failure;
    check(this.#waits.size === 0, `${this.#waits.size} turns are lost`);
    check(this.#clock.pendingTimers === 0, `${this.#clock.pendingTimers} timers are left`);
    for (const { signal } of this.#controllers) {
      check(getEventListeners(signal, 'abort').length === 0, 'a listener is left');
    }
    for (const [at, [, rx]] of this.#queues.entries()) {
      const seen = this.#seen[at] as number[];
      const left = rx.len;
      this.#drain(rx, seen);
      check(
        seen.length === this.#sent[at],
        `queue ${at}: ${this.#sent[at]} sent, ${seen.length} had, ${left} of them left`,
      );
      check(new Set(seen).size === seen.length, `queue ${at}: twice in ${seen.join(' ')}`);
    }
    this.#drain(this.#ending[1], this.#endingSeen);
    check(new Set(this.#endingSeen).size === this.#endingSent, `ending: ${this.#endingSeen.join(' ')}`);
    const roomLeft = this.#room[1].len;
    check(
      this.#roomSeen + roomLeft === this.#roomSent,
      `room: ${this.#roomSent} sent, ${this.#roomSeen} + ${roomLeft}`,
    );
    check(this.#room[0].capacity + roomLeft === 1, 'room: a slot is lost');
    this.#drain(this.#events[1], this.#heard);
    check(
      this.#heard.toSorted((a, b) => a - b).every((value, at) => value === at),
      `events: ${this.#heard.join(' ')}`,
    );
    check(this.#heard.length === this.#eventsSent, `events: ${this.#eventsSent} sent, ${this.#heard.length} heard`);
    check(new Set(this.#configs).size === this.#configs.length, `config twice: ${this.#configs.join(' ')}`);
    const stored = this.#poke.notified().enable() ? 1 : 0;
    check(this.#poked + stored <= this.#pokes, `${this.#pokes} pokes, ${this.#poked} had and ${stored} stored`);
    for (const permit of this.#permits) permit.release();
    check(this.#slots.availablePermits === this.#total, `${this.#slots.availablePermits} of ${this.#total} permits`);
    check(this.#answers + (this.#answer.isEmpty ? 0 : 1) === this.#replies, `${this.#answers} answers`);
  }
}
