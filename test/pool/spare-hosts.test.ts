import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { expect, test, vi } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createPool, MemoryGovernor, type ModelOptions } from '../../src/pool/index.js';
// A part of the pool, tested by itself.
import { SpareHosts } from '../../src/pool/spare-hosts.js';
import { operation, type SpareHost } from '../../src/worker/index.js';
import { isAlive } from '../support/process-tree.js';

// On a machine that has other things to do, a process takes seconds to start.
vi.setConfig({ testTimeout: 90_000 });

const operations = {
  pid: operation<undefined, number>({ idempotent: true }),
  preloaded: operation<undefined, number>(),
};
const module = new URL('./fixtures/preloading-model.mjs', import.meta.url);
const model: ModelOptions<typeof operations> = { operations, module };
const gone = (pid: number) => vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 10_000, interval: 20 });

/** Spares that are no processes: they end when told to. */
function fakeSpares(limitBytes: number, count: number) {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes, clock });
  const started: { isAvailable: boolean; end: () => void }[] = [];
  let start = () => {
    let end = () => {};
    const exited = new Promise<void>((resolve) => {
      end = () => {
        spare.isAvailable = false;
        resolve();
      };
    });
    const spare = {
      pid: undefined,
      isAvailable: true,
      exited,
      ready: Promise.resolve(true),
      end,
      [Symbol.dispose]: () => end(),
    };
    started.push(spare);
    return spare as unknown as SpareHost;
  };
  const spares = new SpareHosts('spares', { count }, { governor, clock }, () => start());
  const setStart = (other: typeof start) => {
    start = other;
  };
  return { clock, governor, started, spares, setStart };
}

test('SpareHosts.take() answers a spare for workers that are started as it was, and makes another a while later', async () => {
  const { clock, governor, started, spares } = fakeSpares(1e9, 2);
  expect([spares.size, governor.heldBytes]).toEqual([2, 128e6]);
  expect(spares.take({ env: { A: '1' } })).toBeUndefined();
  expect(spares.take({ heapMb: 64 })).toBeUndefined();
  expect(spares.take({ stdio: 'inherit' })).toBe(started[0]);
  expect([spares.size, governor.heldBytes]).toEqual([1, 64e6]);
  await clock.advance(999);
  expect(started).toHaveLength(2);
  await clock.advance(1);
  expect(started).toHaveLength(3);
  expect([spares.size, governor.heldBytes, clock.pendingTimers]).toEqual([2, 128e6, 0]);
});

test('SpareHosts passes over a spare that has ended, and makes no other before something happens', async () => {
  const { clock, governor, started, spares } = fakeSpares(1e9, 1);
  started[0]?.end();
  await clock.advance(100_000);
  expect([started.length, spares.size, governor.heldBytes]).toEqual([1, 0, 0]);
  expect(spares.take({})).toBeUndefined();
  await clock.advance(1_000);
  expect([started.length, spares.size]).toEqual([2, 1]);
});

test('spares take only memory that is free, go first when it is short, and are not remade at once', async () => {
  const { clock, governor, started, spares } = fakeSpares(150e6, 3);
  expect([started.length, spares.size]).toEqual([2, 2]);
  const guard = await governor.acquire('model', 80e6, 1_000);
  expect([spares.size, governor.heldBytes]).toEqual([1, 144e6]);
  guard[Symbol.dispose]();
  spares.refill();
  await clock.advance(29_000);
  expect(started).toHaveLength(2);
  await clock.advance(1_000);
  expect([started.length, spares.size, clock.pendingTimers]).toEqual([3, 2, 0]);
});

test('SpareHosts.close() ends all of them and gives their memory back once', async () => {
  const { governor, started, spares, clock } = fakeSpares(1e9, 2);
  spares.refill();
  await spares.close();
  expect(started.map((each) => each.isAvailable)).toEqual([false, false]);
  expect([governor.heldBytes, clock.pendingTimers]).toEqual([0, 0]);
  spares.refill();
  await clock.advance(10_000);
  expect(started).toHaveLength(2);
});

test('createPool() refuses wrong spareHosts', () => {
  expect(() => createPool({ spareHosts: -1 })).toThrow('spareHosts.count must be a non-negative integer up to 64');
  expect(() => createPool({ spareHosts: { cuont: 1 } as never })).toThrow("unknown option 'cuont'");
  const governor = new MemoryGovernor({ limitBytes: 1e9 });
  const registry = new Registry();
  const refused = () => createPool({ governor, registry, spareHosts: { count: 1, module: 'model.js' } });
  // Also the second time, since the first left nothing behind.
  for (let turn = 0; turn < 2; turn += 1) expect(refused).toThrow('module must be a URL');
  expect(governor.heldBytes).toBe(0);
});

test('SpareHosts goes on without a spare where none can be started', async () => {
  const { clock, governor, spares, setStart } = fakeSpares(1e9, 1);
  setStart(() => {
    throw new Error('spawn ENOMEM');
  });
  expect(spares.take({})).toBeDefined();
  await clock.advance(1_000);
  expect([spares.size, governor.heldBytes]).toEqual([0, 0]);
  expect(spares.take({})).toBeUndefined();
});

test.runIf(process.platform === 'linux')(
  'a cold start takes a spare over that has preloaded its module, and the spare is replaced',
  async () => {
    const governor = new MemoryGovernor({ limitBytes: 4e9 });
    const pool = createPool({ governor, spareHosts: { count: 1, module } });
    const loaded = pool.register('m', model);
    // Measured, so it has preloaded.
    await vi.waitFor(() => expect(governor.heldBytes).not.toBe(64e6), { timeout: 20_000 });
    expect(governor.holdings()).toMatchObject([{ owner: 'pool/spare hosts', workers: 1 }]);
    // In the child, before the model was asked for.
    expect(await loaded.call('preloaded', undefined)).toBe(1);
    const pid = await loaded.call('pid', undefined);
    const owners = () =>
      governor
        .holdings()
        .map(({ owner }) => owner)
        .sort();
    await vi.waitFor(() => expect(owners()).toEqual(['pool/m', 'pool/spare hosts']), { timeout: 20_000 });
    // The next worker of any model that is started so takes it.
    const other = pool.register('n', { ...model, stdio: 'ignore' });
    const third = pool.register('o', model);
    expect(await other.call('preloaded', undefined)).toBe(0);
    expect(await third.call('preloaded', undefined)).toBeGreaterThan(0);
    const pids = [pid, await other.call('pid', undefined), await third.call('pid', undefined)];
    await pool.close();
    for (const each of pids) await gone(each);
    expect(governor.heldBytes).toBe(0);
  },
);

test.runIf(process.platform === 'linux')(
  'a spare dies with its parent, and does not hold it, but for a close that waits for its end',
  async () => {
    const script = fileURLToPath(new URL('./fixtures/spare.mjs', import.meta.url));
    for (const ending of ['close', 'end', 'kill']) {
      const child = spawn(process.execPath, [script, ending], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      child.stdout.on('data', (data) => {
        output += data;
      });
      const [code, signal] = await once(child, 'close');
      expect([ending, code, signal]).toEqual(ending === 'kill' ? [ending, null, 'SIGKILL'] : [ending, 0, null]);
      const pids = output.trim().split('\n').map(Number);
      expect(pids.length).toBeGreaterThan(0);
      for (const pid of pids) await gone(pid);
    }
  },
);
