import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createRemotePool, SimulatedBus, type SimulatedConnection, servePool } from '../../src/remote/index.js';
import { loadValueCodec } from '../../src/remote/internal.js';
import { seeded } from '../seeded.js';
import { echoOperations, simulate, simulated } from '../support/simulated-worker.js';

interface Seen {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly reply: string | undefined;
}

const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 2 ** 31);

async function world() {
  await loadValueCodec();
  const clock = new SimulatedClock();
  const network = new SimulatedBus({ clock, maxPayload: 40_000 });
  const { pool } = simulate(clock, { serviceMs: () => 3 });
  pool.register('m', simulated({ maxWorkers: 1, concurrency: 2, minWorkers: 1, breaker: false }));
  const serving = servePool(pool, { bus: network.connect(), clock, service: 'm', operations: ['echo', 'once'] });
  await clock.advance(5);
  const host = await serving;
  const remote = createRemotePool({ bus: network.connect(), clock });
  const model = remote.connect('m', { operations: echoOperations, breaker: false });
  await clock.advance(5);
  const spy = network.connect();
  const toHost: Seen[] = [];
  const toCaller: Seen[] = [];
  spy.subscribe('millrace.m.host.>', ({ subject, data, reply }) => toHost.push({ subject, data, reply }));
  spy.subscribe('millrace.m.to.>', ({ subject, data, reply }) => toCaller.push({ subject, data, reply }));
  await clock.advance(1);
  // Something of everything: more calls than places, one in parts, one that is aborted, one that outlives a probe.
  const controller = new AbortController();
  const calls = [
    ...Array.from({ length: 8 }, (_, n) => model.call('echo', { n, list: [1, 'two', new Float32Array(3)] })),
    model.call('once', new Uint8Array(90_000)),
    model.call('echo', 'aborted', { signal: controller.signal }),
  ];
  const settled = Promise.allSettled(calls);
  await clock.advance(1);
  controller.abort('enough');
  await clock.advance(700);
  await settled;
  return { clock, network, host, remote, model, spy, toHost, toCaller, pool };
}

/** Changes a message in one of the ways in which a hostile or broken peer may. */
function mutate(random: () => number, data: Uint8Array, others: readonly Seen[]): Uint8Array {
  const at = Math.floor(random() * data.length);
  switch (Math.floor(random() * 6)) {
    case 0: {
      const copy = data.slice();
      copy[at] = Math.floor(random() * 256);
      return copy;
    }
    case 1: {
      const copy = data.slice();
      for (let index = at; index < Math.min(at + 8, copy.length); index += 1) copy[index] = Math.floor(random() * 256);
      return copy;
    }
    case 2:
      return data.slice(0, at);
    case 3:
      return Uint8Array.from([...data.slice(0, 64), ...Array.from({ length: 16 }, () => Math.floor(random() * 256))]);
    case 4: {
      // The header of one with the body of another.
      const other = (others[Math.floor(random() * others.length)] as Seen).data;
      return Buffer.concat([data.subarray(0, Math.min(at, 40)), other.subarray(Math.min(other.length, 20))]);
    }
    default:
      return Uint8Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256));
  }
}

async function bombard(
  { clock, spy }: { readonly clock: SimulatedClock; readonly spy: SimulatedConnection },
  seen: readonly Seen[],
  count: number,
): Promise<void> {
  const random = seeded(seed);
  const kept = seen.slice();
  for (let index = 0; index < count; index += 1) {
    const { subject, data, reply } = kept[Math.floor(random() * kept.length)] as Seen;
    // In a session of its own: that of another caller is not known to a stranger.
    const own = reply?.replace(/[^.]+(\.\d+)$/, 'stranger$1');
    spy.publish(subject, mutate(random, data, kept), own === undefined ? {} : { reply: own });
    if (index % 50 === 49) await clock.advance(1);
  }
  await clock.advance(20_000);
}

test(`a host that gets 5,000 mutated messages goes on serving, and counts them (seed ${seed})`, async () => {
  const each = await world();
  const { clock, host, model, pool, remote, toHost } = each;
  const sessions = host.stats().sessions;
  await bombard(each, toHost, 5_000);
  const stats = host.stats();
  expect(stats.malformed).toBeGreaterThan(500);
  expect(stats.sessions).toBeLessThanOrEqual(sessions + 1);
  expect(stats.accepted).toBe(stats.settled + stats.pending);
  expect(pool.stats().pending).toBeLessThanOrEqual(2);
  const call = model.call('echo', 'still here', { timeoutMs: 5_000 });
  await clock.advance(2_000);
  expect(await call).toBe('still here');
  const closing = Promise.all([remote.destroy(), host.destroy(), pool.destroy()]);
  await clock.advance(100);
  await closing;
});

test(`a caller that gets 5,000 mutated messages goes on calling, and counts them (seed ${seed})`, async () => {
  const each = await world();
  const { clock, host, model, pool, remote, toCaller } = each;
  // Some calls are under way, which may be answered with nonsense, but once.
  const answers: unknown[] = [];
  for (let n = 0; n < 20; n += 1) {
    model.call('echo', n, { timeoutMs: 300 }).then(
      (value) => answers.push(value),
      (error: unknown) => answers.push(error),
    );
  }
  await bombard(each, toCaller, 5_000);
  expect(answers).toHaveLength(20);
  const stats = remote.stats();
  expect(stats.remote.malformed).toBeGreaterThan(500);
  expect(stats.pending).toBe(0);
  const call = model.call('echo', 'still here', { timeoutMs: 8_000 });
  await clock.advance(6_000);
  expect(await call).toBe('still here');
  const closing = Promise.all([remote.destroy(), host.destroy(), pool.destroy()]);
  await clock.advance(100);
  await closing;
});

test('answers that come to another inbox, or for calls that were not made, change nothing', async () => {
  const { clock, host, model, pool, remote, spy, toCaller } = await world();
  const call = model.call('echo', 'mine', { timeoutMs: 1_000 });
  for (const { subject, data } of toCaller) {
    const [session, id] = subject.split('.').slice(-2) as [string, string];
    spy.publish(subject.replace(session, 'forged'), data);
    spy.publish(subject.replace(`${session}.${id}`, `${session}.${Number(id) + 1_000}`), data);
  }
  await clock.advance(100);
  expect(await call).toBe('mine');
  expect(remote.stats()).toMatchObject({ succeeded: 10, cancelled: 1, failed: 0 });
  const closing = Promise.all([remote.destroy(), host.destroy(), pool.destroy()]);
  await clock.advance(100);
  await closing;
});
