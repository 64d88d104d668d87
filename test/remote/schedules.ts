import fc from 'fast-check';
import { expect } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import type { ModelHandle, Pool } from '../../src/pool/index.js';
import {
  createRemotePool,
  type RemotePool,
  type ServedPool,
  SimulatedBus,
  type SimulatedConnection,
  servePool,
} from '../../src/remote/index.js';
import { loadValueCodec } from '../../src/remote/internal.js';
import { seeded } from '../seeded.js';
import { echoOperations, simulate, simulated } from '../support/simulated-worker.js';

// Random schedules over the simulated network: calls, aborts, deaths, partitions, restarts of the server, lost messages. After each step the ledgers add up;
// at the end every call was answered once and in time, and ran no more often than it may.

const RETRIES = 1;
/** How long after its deadline a call may be answered, in ms. */
const LATE_MS = 50;
const HOSTS = 3;
const CALLERS = 2;

/** One step of a schedule. */
export type Step =
  | {
      readonly do: 'call';
      readonly caller: number;
      readonly idempotent: boolean;
      readonly serviceMs: number;
      readonly timeoutMs: number;
      readonly abortAfterMs: number | undefined;
    }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'kill' | 'cutHost' | 'healHost' | 'drain' | 'lag'; readonly host: number }
  | { readonly do: 'cutCaller' | 'healCaller'; readonly caller: number }
  | { readonly do: 'stopServer' | 'startServer' };

/** How the network is. */
export interface Weather {
  readonly maxDelayMs: number;
  /** How many of 100 messages are lost. */
  readonly dropPercent: number;
  readonly reorderPercent: number;
  readonly seed: number;
}

const hostIndex = fc.nat({ max: HOSTS - 1 });
const callerIndex = fc.nat({ max: CALLERS - 1 });
const call = fc.record({
  do: fc.constant('call' as const),
  caller: callerIndex,
  idempotent: fc.boolean(),
  serviceMs: fc.integer({ min: 1, max: 60 }),
  timeoutMs: fc.constantFrom(5, 40, 300, 2_000, 8_000),
  abortAfterMs: fc.option(fc.nat({ max: 80 }), { nil: undefined, freq: 6 }),
});

/** Schedules. */
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: call },
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 7, 40, 260, 1_300) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constantFrom<'kill' | 'cutHost' | 'healHost' | 'drain'>(
          'kill',
          'cutHost',
          'healHost',
          'healHost',
          'drain',
        ),
        host: hostIndex,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constantFrom<'cutCaller' | 'healCaller'>('cutCaller', 'healCaller'),
        caller: callerIndex,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom<'stopServer' | 'startServer'>('stopServer', 'startServer') }),
    },
  ),
  { minLength: 5, maxLength: 30 },
);

/** Networks from calm to rough. */
export const weathers: fc.Arbitrary<Weather> = fc.record({
  maxDelayMs: fc.constantFrom(0, 1, 5),
  dropPercent: fc.constantFrom(0, 0, 0, 2, 10),
  reorderPercent: fc.constantFrom(0, 0, 0, 10),
  seed: fc.nat(),
});

interface Host {
  readonly bus: SimulatedConnection;
  readonly pool: Pool;
  readonly served: ServedPool;
  isAlive: boolean;
}

interface Caller {
  readonly bus: SimulatedConnection;
  readonly pool: RemotePool;
  readonly model: ModelHandle<typeof echoOperations>;
}

interface MadeCall {
  readonly id: number;
  readonly idempotent: boolean;
  readonly dueAt: number;
  readonly runs: { readonly at: number }[];
  answers: { readonly at: number; readonly value?: unknown; readonly error?: unknown }[];
}

export class World {
  readonly clock = new SimulatedClock();
  readonly network: SimulatedBus;
  readonly hosts: Host[] = [];
  readonly callers: Caller[] = [];
  readonly calls: MadeCall[] = [];
  isCalm = false;

  readonly #maxDelayMs: number;

  constructor({ maxDelayMs, dropPercent, reorderPercent, seed }: Weather) {
    this.#maxDelayMs = maxDelayMs;
    const random = seeded(seed);
    this.network = new SimulatedBus({
      clock: this.clock,
      random,
      delayMs: () => (maxDelayMs === 0 ? 0 : random() * maxDelayMs),
      isDropped: () => !this.isCalm && random() * 100 < dropPercent,
      isReordered: () => !this.isCalm && random() * 100 < reorderPercent,
    });
  }

  async begin(): Promise<void> {
    for (let index = 0; index < HOSTS; index += 1) await this.startHost(index);
    for (let index = 0; index < CALLERS; index += 1) {
      const bus = this.network.connect();
      this.#refuseSilently(bus);
      const pool = createRemotePool({ bus, clock: this.clock, name: `caller-${index}` });
      const model = pool.connect('m', { operations: echoOperations, breaker: false, retries: RETRIES });
      this.callers.push({ bus, pool, model });
    }
    await this.clock.advance(20);
  }

  async startHost(index: number): Promise<void> {
    const bus = this.network.connect();
    this.#refuseSilently(bus);
    const serviceMs = (input: unknown): number => {
      const { id, serviceMs: ms } = input as { id: number; serviceMs: number };
      this.calls[id]?.runs.push({ at: this.clock.now() });
      return ms;
    };
    const { pool } = simulate(this.clock, { serviceMs });
    pool.register('m', simulated({ maxWorkers: 1, concurrency: 2, minWorkers: 1, breaker: false }));
    const serving = servePool(pool, {
      bus,
      clock: this.clock,
      service: 'm',
      name: `host-${index}`,
      operations: ['echo', 'once'],
    });
    await this.clock.advance(20);
    this.hosts[index] = { bus, pool, served: await serving, isAlive: true };
  }

  /** While a bus is not connected nothing is published. */
  #refuseSilently(bus: SimulatedConnection): void {
    const publish = bus.publish.bind(bus);
    bus.publish = (...published) => {
      expect(bus.status).toBe('connected');
      return publish(...published);
    };
  }

  async do(step: Step): Promise<void> {
    switch (step.do) {
      case 'call':
        this.#call(step);
        break;
      case 'wait':
        await this.clock.advance(step.ms);
        break;
      case 'kill': {
        const host = this.hosts[step.host] as Host;
        host.isAlive = false;
        host.bus.end();
        await this.startHostIfUp(step.host);
        break;
      }
      case 'drain':
        void this.hosts[step.host]?.served.drain();
        break;
      case 'cutHost':
        this.hosts[step.host]?.bus.cut();
        break;
      case 'healHost':
        this.hosts[step.host]?.bus.heal();
        break;
      case 'cutCaller':
        this.callers[step.caller]?.bus.cut();
        break;
      case 'healCaller':
        this.callers[step.caller]?.bus.heal();
        break;
      case 'stopServer':
        this.network.stop();
        break;
      case 'startServer':
        this.network.start();
        break;
    }
    this.check();
  }

  async startHostIfUp(index: number): Promise<void> {
    if (this.network.isUp) await this.startHost(index);
  }

  #call(step: Extract<Step, { do: 'call' }>): void {
    const made: MadeCall = {
      id: this.calls.length,
      idempotent: step.idempotent,
      dueAt: this.clock.now() + step.timeoutMs,
      runs: [],
      answers: [],
    };
    this.calls.push(made);
    const controller = new AbortController();
    if (step.abortAfterMs !== undefined) {
      this.clock.setTimer(() => controller.abort(new Error('aborted')), step.abortAfterMs);
    }
    const input = { id: made.id, serviceMs: step.serviceMs };
    const { model } = this.callers[step.caller] as Caller;
    model.call(step.idempotent ? 'echo' : 'once', input, { timeoutMs: step.timeoutMs, signal: controller.signal }).then(
      (value) => made.answers.push({ at: this.clock.now(), value }),
      (error: unknown) => made.answers.push({ at: this.clock.now(), error }),
    );
  }

  /** What holds at any moment. */
  check(): void {
    const now = this.clock.now();
    for (const { pool } of this.callers) {
      const { accepted, succeeded, failed, expired, cancelled, pending } = pool.stats();
      expect(succeeded + failed + expired + cancelled + pending).toBe(accepted);
    }
    for (const { pool, served } of this.hosts) {
      const { accepted, succeeded, failed, expired, cancelled, pending, models } = pool.stats();
      expect(succeeded + failed + expired + cancelled + pending).toBe(accepted);
      const stats = served.stats();
      expect(stats.accepted).toBe(stats.settled + stats.pending);
      const held = (models.m?.queued ?? 0) + (models.m?.inFlight ?? 0);
      expect(held).toBeLessThanOrEqual(2 + stats.lookAhead);
    }
    for (const { id, idempotent, dueAt, runs, answers } of this.calls) {
      expect(answers.length, `answers of call ${id}`).toBeLessThanOrEqual(1);
      expect(runs.length, `runs of call ${id}`).toBeLessThanOrEqual(idempotent ? 2 + RETRIES : 1);
      if (now > dueAt + LATE_MS) expect(answers.length, `answers of call ${id} at its deadline`).toBe(1);
      const [answer] = answers;
      if (answer === undefined) continue;
      expect(answer.at, `call ${id} is answered in time`).toBeLessThanOrEqual(dueAt + LATE_MS);
      if (answer.error === undefined) expect(answer.value).toMatchObject({ id });
      else {
        const { code } = answer.error as { code?: string };
        if (code === 'ERR_NO_HOST' || code === 'ERR_POOL_OVERLOADED') expect(runs).toEqual([]);
        if (code === 'ERR_HOST_LOST' || code === 'ERR_ANSWER_LOST') expect(idempotent && runs.length === 0).toBe(false);
      }
      for (const run of runs) {
        // A caller knows its host's clock up to half a round trip.
        expect(run.at, `call ${id} is begun before its deadline`).toBeLessThanOrEqual(dueAt + 2 * this.#maxDelayMs);
      }
    }
  }

  /** All is well again: every call is answered, new ones find a place, and then nothing is said any more. */
  async end(): Promise<void> {
    this.isCalm = true;
    this.network.start();
    for (const { bus } of this.callers) bus.heal();
    for (const { bus } of this.hosts) bus.heal();
    for (const [index, host] of this.hosts.entries()) {
      if (!host.isAlive || host.served.stats().places === 0) await this.startHost(index);
    }
    await this.clock.advance(9_000);
    this.check();
    const before = this.calls.length;
    for (let caller = 0; caller < CALLERS; caller += 1) {
      for (let count = 0; count < 8; count += 1) {
        this.#call({
          do: 'call',
          caller,
          idempotent: count % 2 === 0,
          serviceMs: 5,
          timeoutMs: 2_000,
          abortAfterMs: undefined,
        });
      }
    }
    await this.clock.advance(1_500);
    this.check();
    for (const { answers, runs } of this.calls.slice(before)) {
      expect(answers[0]).toHaveProperty('value');
      expect(runs).toHaveLength(1);
    }
    const { published } = this.network;
    await this.clock.advance(10_000);
    expect(this.network.published - published).toBeLessThanOrEqual(1);
    for (const { pool } of this.callers) expect(pool.stats().pending).toBe(0);
    for (const { served, isAlive } of this.hosts)
      if (isAlive) expect(served.stats()).toMatchObject({ pending: 0, waiting: 0 });
  }

  async close(): Promise<void> {
    const closing = [
      ...this.callers.map(({ pool }) => pool.destroy()),
      ...this.hosts.flatMap(({ pool, served }) => [served.destroy(), pool.destroy()]),
    ];
    await this.clock.advance(100);
    await Promise.all(closing);
  }
}

/** Runs random schedules; a failing one is printed with its seed. */
export async function runSchedules(numRuns: number, seed: number): Promise<void> {
  await loadValueCodec();
  await fc.assert(
    fc.asyncProperty(weathers, steps, async (weather, schedule) => {
      const world = new World(weather);
      try {
        await world.begin();
        for (const step of schedule) await world.do(step);
        await world.end();
      } finally {
        await world.close();
      }
    }),
    { numRuns, seed },
  );
}
