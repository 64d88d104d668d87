import { afterEach, expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import type { ModelHandle, Pool, PoolCallOptions } from '../../src/pool/index.js';
import {
  createRemotePool,
  type RemotePool,
  type ServedPool,
  SimulatedBus,
  type SimulatedBusOptions,
  type SimulatedConnection,
  servePool,
} from '../../src/remote/index.js';
import { loadValueCodec } from '../../src/remote/internal.js';
import { Kind, readMessage, VERSION, writeMessage } from '../../src/remote/wire/messages.js';
import { echoOperations, simulate, simulated, type SimulatedWorker } from '../support/simulated-worker.js';

interface Host {
  readonly bus: SimulatedConnection;
  readonly pool: Pool;
  readonly served: ServedPool;
  readonly workers: readonly SimulatedWorker[];
}

interface World {
  readonly clock: SimulatedClock;
  readonly network: SimulatedBus;
  readonly bus: SimulatedConnection;
  readonly remote: RemotePool;
  readonly model: ModelHandle<typeof echoOperations>;
  startHost(name: string, options?: { places?: number; bus?: SimulatedConnection }): Promise<Host>;
  /** The outcome of a call: its value, or the code, message or reason of its error. */
  call(operation: 'echo' | 'once', input: unknown, options?: PoolCallOptions): { outcome: unknown; at: number };
}

const codec = await loadValueCodec();
const open: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** The input of a call says how long it takes. */
const serviceMs = (input: unknown): number => (input as { ms?: number }).ms ?? 10;

async function makeWorld(options: SimulatedBusOptions = {}): Promise<World> {
  const clock = new SimulatedClock();
  const network = new SimulatedBus({ clock, ...options });
  const bus = network.connect();
  const remote = createRemotePool({ bus, clock });
  const model = remote.connect('m', { operations: echoOperations, breaker: false });
  const hosts: Host[] = [];
  open.push(async () => {
    const closing = [remote.destroy(), ...hosts.flatMap(({ pool, served }) => [served.destroy(), pool.destroy()])];
    await clock.advance(100);
    await Promise.all(closing);
  });
  return {
    clock,
    network,
    bus,
    remote,
    model,
    async startHost(name, { places = 2, bus: hostBus = network.connect() } = {}) {
      const { pool, workers } = simulate(clock, { serviceMs });
      pool.register('m', simulated({ maxWorkers: 1, concurrency: places, minWorkers: 1, breaker: false }));
      const serving = servePool(pool, { bus: hostBus, clock, service: 'm', name, operations: ['echo', 'once'] });
      await clock.advance(50);
      const host = { bus: hostBus, pool, served: await serving, workers };
      hosts.push(host);
      return host;
    },
    call(operation, input, callOptions) {
      const made = { outcome: undefined as unknown, at: -1 };
      model.call(operation, input, callOptions).then(
        (value) => Object.assign(made, { outcome: value, at: clock.now() }),
        (error: unknown) =>
          Object.assign(made, { outcome: (error as { code?: string })?.code ?? error, at: clock.now() }),
      );
      return made;
    },
  };
}

const delayed = { delayMs: () => 5 };

test('an abort acts in the queue of the caller: the call never crosses', async () => {
  const { clock, startHost, call } = await makeWorld();
  const controller = new AbortController();
  const made = call('once', { ms: 1 }, { signal: controller.signal });
  controller.abort('enough');
  const host = await startHost('a');
  await clock.advance(100);
  expect(made.outcome).toBe('enough');
  expect(host.served.stats().accepted).toBe(0);
});

test('an abort acts on the way: the host reads it before it begins the call', async () => {
  const { clock, startHost, call, bus } = await makeWorld();
  const host = await startHost('a');
  bus.cut();
  const controller = new AbortController();
  const made = call('once', { ms: 1 }, { signal: controller.signal });
  await clock.advance(1);
  controller.abort('enough');
  await clock.advance(1);
  bus.heal();
  await clock.advance(100);
  expect(made.outcome).toBe('enough');
  expect(host.workers.flatMap(({ given }) => given)).toEqual([]);
  expect(host.served.stats()).toMatchObject({ pending: 0 });
});

test('an abort acts in the queue of the host and in its model, whose place stays taken until that lets go', async () => {
  const { clock, startHost, model, remote } = await makeWorld();
  const host = await startHost('a', { places: 1 });
  const controller = new AbortController();
  const calls = [{ ms: 100 }, { ms: 1 }].map((input) =>
    model.call('once', input, { signal: controller.signal }).catch((reason: unknown) => reason),
  );
  await clock.advance(20);
  expect(host.served.stats()).toMatchObject({ pending: 1, freePlaces: 0, waiting: 1 });
  controller.abort('enough');
  expect(await Promise.all(calls)).toEqual(['enough', 'enough']);
  await clock.advance(20);
  // The worker is still at it.
  expect(host.served.stats()).toMatchObject({ pending: 0, freePlaces: 0 });
  await clock.advance(80);
  expect(host.served.stats()).toMatchObject({ freePlaces: 1, waiting: 0 });
  expect(remote.stats()).toMatchObject({ cancelled: 2, pending: 0 });
  expect(host.pool.stats()).toMatchObject({ accepted: 1, cancelled: 1 });
});

test('a deadline acts in the queue of the caller, on the way, at the host and in the model', async () => {
  const { clock, startHost, call, bus } = await makeWorld(delayed);
  const waiting = call('once', { ms: 1 }, { timeoutMs: 30 });
  await clock.advance(30);
  expect(waiting).toMatchObject({ outcome: 'ERR_DEADLINE_EXCEEDED', at: 30 });
  const host = await startHost('a', { places: 1 });
  const inModel = call('once', { ms: 200 }, { timeoutMs: 60 });
  const behind = call('once', { ms: 1 }, { timeoutMs: 60 });
  await clock.advance(61);
  expect([inModel.outcome, behind.outcome]).toEqual(['ERR_DEADLINE_EXCEEDED', 'ERR_DEADLINE_EXCEEDED']);
  await clock.advance(300);
  const before = host.workers.flatMap(({ given }) => given).length;
  bus.cut();
  const onTheWay = call('once', { ms: 1 }, { timeoutMs: 60 });
  await clock.advance(13_600);
  expect(onTheWay.outcome).toBe('ERR_DEADLINE_EXCEEDED');
  bus.heal();
  await clock.advance(200);
  // Late by 13 seconds, it is not begun.
  expect(host.workers.flatMap(({ given }) => given)).toHaveLength(before);
});

test('clocks that are an hour apart and drift change no deadline', async () => {
  const { clock, network, remote, startHost, call } = await makeWorld(delayed);
  const ahead = { now: () => clock.now() * 1.001 + 3_600_000, setTimer: clock.setTimer.bind(clock) };
  const { pool } = simulate(clock, { serviceMs });
  pool.register('m', simulated({ maxWorkers: 1, concurrency: 1, minWorkers: 1 }));
  const serving = servePool(pool, { bus: network.connect(), clock: ahead, service: 'm', operations: ['echo'] });
  await clock.advance(50);
  const served = await serving;
  for (let round = 0; round < 5; round += 1) {
    const made = call('echo', { ms: 50 }, { timeoutMs: 200 });
    await clock.advance(10_000);
    expect(made.outcome).toEqual({ ms: 50 });
  }
  expect(remote.stats()).toMatchObject({ succeeded: 5 });
  expect(startHost).toBeDefined();
  const closing = [served.destroy(), pool.destroy()];
  await clock.advance(10);
  await Promise.all(closing);
});

test('a host that dies is noticed by a probe: idempotent calls run elsewhere, others fail, and nothing runs twice', async () => {
  const { clock, startHost, call, remote } = await makeWorld();
  const dying = await startHost('a');
  const again = call('echo', { ms: 5_000 }, { timeoutMs: 20_000 });
  const once = call('once', { ms: 5_000 }, { timeoutMs: 20_000 });
  await clock.advance(100);
  const other = await startHost('b');
  const killedAt = clock.now();
  dying.bus.end();
  await clock.advance(300);
  expect(once).toMatchObject({ outcome: 'ERR_HOST_LOST' });
  expect(once.at - killedAt).toBeLessThanOrEqual(260);
  await clock.advance(5_300);
  expect(again.outcome).toEqual({ ms: 5_000 });
  expect(other.served.stats().accepted).toBe(1);
  expect(remote.hosts()).toMatchObject([{ name: 'b' }]);
  expect(remote.stats()).toMatchObject({ retried: 1, succeeded: 1, failed: 1 });
});

test('a call to a host that was gone already runs elsewhere, whatever it is', async () => {
  const { clock, startHost, call, remote } = await makeWorld();
  const gone = await startHost('a');
  gone.bus.end();
  const calls = [call('once', { ms: 1 }), call('once', { ms: 1 })];
  await clock.advance(5);
  await startHost('b');
  await clock.advance(50);
  expect(calls.map(({ outcome }) => outcome)).toEqual([{ ms: 1 }, { ms: 1 }]);
  expect(remote.stats()).toMatchObject({ succeeded: 2, retried: 0 });
});

test('a silent host gets no new calls; idempotent ones run elsewhere too, and the late answer is counted', async () => {
  const { clock, startHost, call, remote } = await makeWorld();
  const silent = await startHost('a');
  const suspected = call('echo', { ms: 10 }, { timeoutMs: 20_000 });
  const patient = call('once', { ms: 10 }, { timeoutMs: 20_000 });
  await clock.advance(0);
  silent.bus.cut();
  const other = await startHost('b');
  await clock.advance(1_600);
  expect(suspected.outcome).toEqual({ ms: 10 });
  expect(patient.outcome).toBeUndefined();
  const fresh = call('once', { ms: 10 });
  await clock.advance(20);
  expect(fresh.outcome).toEqual({ ms: 10 });
  expect(other.served.stats().accepted).toBe(2);
  silent.bus.heal();
  await clock.advance(300);
  expect(patient.outcome).toEqual({ ms: 10 });
  expect(remote.stats()).toMatchObject({ succeeded: 3, remote: { suspected: 1 } });
  expect(remote.stats().remote.late).toBeGreaterThanOrEqual(1);
  expect(remote.hosts().map(({ state }) => state)).toEqual(['ready', 'ready']);
});

test('the server dies and comes back: calls are sent again under their ids, and each runs once', async () => {
  const { clock, network, startHost, call, remote } = await makeWorld();
  const host = await startHost('a', { places: 8 });
  const running = Array.from({ length: 4 }, (_, n) => call('once', { ms: 400, n }));
  await clock.advance(100);
  network.stop();
  const during = Array.from({ length: 4 }, (_, n) => call('once', { ms: 10, n }));
  await clock.advance(500);
  network.start();
  await clock.advance(300);
  expect([...running, ...during].every(({ outcome }) => typeof outcome === 'object')).toBe(true);
  expect(host.workers.flatMap(({ given }) => given)).toHaveLength(8);
  expect(host.served.stats()).toMatchObject({ accepted: 8, settled: 8, resent: 4 });
  expect(remote.stats()).toMatchObject({ succeeded: 8, retried: 0 });
});

test('an answer that was lost is sent again; once it is forgotten that is told, or the call runs again', async () => {
  let isLossy = true;
  const isDropped = ({ subject, data }: { subject: string; data: Uint8Array }): boolean =>
    isLossy && subject.includes('.to.') && readMessage(codec, data).kind === Kind.Answer;
  const { clock, startHost, call, remote } = await makeWorld({ isDropped });
  const host = await startHost('a', { places: 4 });
  const forgotten = [call('once', { ms: 10 }, { timeoutMs: 60_000 }), call('echo', { ms: 10 }, { timeoutMs: 60_000 })];
  // Longer than the host keeps answers.
  await clock.advance(9_500);
  const kept = call('once', { ms: 10 }, { timeoutMs: 60_000 });
  await clock.advance(1_000);
  expect(forgotten[0]?.outcome).toBe('ERR_ANSWER_LOST');
  isLossy = false;
  await clock.advance(500);
  expect(forgotten[1]?.outcome).toEqual({ ms: 10 });
  expect(kept.outcome).toEqual({ ms: 10 });
  expect(host.workers.flatMap(({ given }) => given)).toHaveLength(4);
  expect(remote.stats()).toMatchObject({ succeeded: 2, failed: 1, retried: 1 });
});

test('a caller that dies is noticed: its calls are aborted within two seconds', async () => {
  const { clock, startHost, call, bus } = await makeWorld();
  const host = await startHost('a');
  call('once', { ms: 60_000 }, { timeoutMs: 120_000 });
  await clock.advance(5_000);
  expect(host.pool.stats().pending).toBe(1);
  bus.end();
  await clock.advance(2_000);
  expect(host.pool.stats()).toMatchObject({ pending: 0, cancelled: 1 });
  expect(host.served.stats()).toMatchObject({ pending: 0, sessions: 0 });
});

test('a host that drains turns new calls away, finishes those that it has, and loses nothing', async () => {
  const { clock, startHost, call, remote } = await makeWorld();
  const leaving = await startHost('a');
  const held = [call('once', { ms: 300 }), call('once', { ms: 300 })];
  await clock.advance(10);
  const other = await startHost('b');
  let isDrained = false;
  void leaving.served.drain().then(() => {
    isDrained = true;
  });
  const late = Array.from({ length: 6 }, () => call('once', { ms: 10 }));
  await clock.advance(100);
  expect(isDrained).toBe(false);
  expect(late.every(({ outcome }) => outcome !== undefined)).toBe(true);
  await clock.advance(300);
  expect(isDrained).toBe(true);
  expect(held.map(({ outcome }) => outcome)).toEqual([{ ms: 300 }, { ms: 300 }]);
  expect(other.served.stats().accepted).toBe(6);
  expect(remote.stats()).toMatchObject({ succeeded: 8, failed: 0, retried: 0 });
  expect(remote.hosts()).toMatchObject([{ name: 'b' }]);
});

test('a host that starts again under its name is another one, and messages of the former change nothing', async () => {
  const { clock, startHost, call, remote } = await makeWorld();
  const first = await startHost('a');
  const lost = call('once', { ms: 5_000 });
  await clock.advance(10);
  first.bus.end();
  await startHost('a');
  const fresh = call('once', { ms: 10 });
  await clock.advance(400);
  expect(lost.outcome).toBe('ERR_HOST_LOST');
  expect(fresh.outcome).toEqual({ ms: 10 });
  expect(remote.hosts()).toHaveLength(1);
});

test('a host that joins is used within 100 ms', async () => {
  const { clock, startHost, call } = await makeWorld(delayed);
  const calls = Array.from({ length: 4 }, () => call('once', { ms: 1 }));
  await clock.advance(2_000);
  const host = await startHost('a');
  await clock.advance(50);
  expect(calls.every(({ outcome }) => outcome !== undefined)).toBe(true);
  expect(host.served.stats().accepted).toBe(4);
});

test('without a host tryCall() is refused at once, and call() after a while', async () => {
  const { clock, model, call, network, remote } = await makeWorld();
  await clock.advance(10);
  await expect(model.tryCall('echo', {})).rejects.toMatchObject({ code: 'ERR_NO_HOST', retryAfterMs: 1_000 });
  const made = call('echo', {});
  await clock.advance(5_000);
  expect(made).toMatchObject({ outcome: 'ERR_NO_HOST', at: 5_010 });
  network.stop();
  const down = call('echo', {}, { timeoutMs: 9_000 });
  await clock.advance(9_000);
  // While the bus is away calls wait for it.
  expect(down.outcome).toBe('ERR_DEADLINE_EXCEEDED');
  expect(remote.stats()).toMatchObject({ refused: 1, failed: 1, expired: 1 });
});

test('callers of a full host are served in turns', async () => {
  const { clock, network, startHost } = await makeWorld();
  const host = await startHost('a', { places: 1 });
  const done: string[] = [];
  const pools = ['x', 'y', 'z'].map((name) => {
    const pool = createRemotePool({ bus: network.connect(), clock, name });
    const model = pool.connect('m', { operations: echoOperations });
    for (let n = 0; n < 30; n += 1) void model.call('once', { ms: 10 }).then(() => done.push(name));
    return pool;
  });
  await clock.advance(650);
  for (const name of ['x', 'y', 'z']) {
    const share = done.filter((each) => each === name).length / done.length;
    expect(share).toBeGreaterThan(0.23);
    expect(share).toBeLessThan(0.43);
  }
  expect(done.length).toBeGreaterThan(55);
  await clock.advance(600);
  expect(host.served.stats().accepted).toBe(90);
  const closing = pools.map((pool) => pool.close());
  await clock.advance(10);
  await Promise.all(closing);
});

test('busy and room that come in either order keep no call waiting', async () => {
  const { clock, startHost, call, bus } = await makeWorld();
  await startHost('a', { places: 1 });
  const calls = Array.from({ length: 5 }, () => call('once', { ms: 10 }));
  await clock.advance(1);
  // Both are held up, and come together.
  bus.cut();
  await clock.advance(15);
  bus.heal();
  await clock.advance(400);
  expect(calls.every(({ outcome }) => outcome !== undefined)).toBe(true);
});

test('a host answers a message of another version by name', async () => {
  const { clock, network, startHost } = await makeWorld();
  await startHost('a');
  const stranger = network.connect();
  const said: string[] = [];
  stranger.subscribe('millrace.m.to.other.i.>', ({ data }) => {
    const { kind, body } = readMessage(codec, data);
    if (kind === Kind.Fault) said.push(String(codec.decode(body)));
  });
  const asks: string[] = [];
  stranger.subscribe('millrace.m.hello.*', () => {});
  network.connect().subscribe('millrace.m.host.>', ({ subject }) => asks.push(subject));
  await clock.advance(300);
  const probe = createRemotePool({ bus: network.connect(), clock }).connect('m', { operations: echoOperations });
  void probe.call('echo', {}).catch(() => {});
  await clock.advance(50);
  const subject = asks.find((each) => each.split('.').length === 5) as string;
  const message = writeMessage(codec, [Kind.Probe, 1, 0, null]);
  message[0] = VERSION + 1;
  stranger.publish(subject, message, { reply: 'millrace.m.to.other.i.session.7' });
  await clock.advance(10);
  expect(said).toEqual([expect.stringContaining('version 2 of the protocol, this side speaks version 1')]);
});
