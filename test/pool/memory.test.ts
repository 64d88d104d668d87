import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import {
  autoWorkers,
  availableCores,
  createPool,
  MemoryExhaustedError,
  MemoryGovernor,
  type MemoryGuard,
  type MemoryReclaimer,
} from '../../src/pool/index.js';
import { availableMemory, residentBytes } from '../../src/pool/internal.js';
import { operation } from '../../src/worker/index.js';

const MB = 1_000_000;
const files = (map: Record<string, string>) => (path: string) => map[path];

test('availableMemory() is the machine where no control group limits it', () => {
  expect(availableMemory(16_000, files({})).bytes).toBe(16_000);
  expect(
    availableMemory(16_000, files({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': 'max\n' })).bytes,
  ).toBe(16_000);
});

test('availableMemory() takes the tightest version 2 limit on the way to the root', () => {
  const read = files({
    '/proc/self/cgroup': '0::/user.slice/app\n',
    '/sys/fs/cgroup/user.slice/app/memory.max': '9000\n',
    '/sys/fs/cgroup/user.slice/memory.max': '5000\n',
  });
  expect(availableMemory(16_000, read).bytes).toBe(5_000);
});

test('availableMemory() reads version 1, where no limit is a number close to 2^63', () => {
  const membership = '12:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/ignored\n';
  const limited = files({
    '/proc/self/cgroup': membership,
    '/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes': '7000\n',
  });
  expect(availableMemory(16_000, limited).bytes).toBe(7_000);
  const inside = files({ '/proc/self/cgroup': membership, '/sys/fs/cgroup/memory/memory.limit_in_bytes': '3000\n' });
  expect(availableMemory(16_000, inside).bytes).toBe(3_000);
  const unlimited = files({
    '/proc/self/cgroup': membership,
    '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
  });
  expect(availableMemory(16_000, unlimited).bytes).toBe(16_000);
});

test('availableCores() is the machine where no control group has a quota, of which a fraction counts as a core', () => {
  expect(availableCores(8, files({}))).toBe(8);
  const version2 = (max: string) =>
    files({ '/proc/self/cgroup': '0::/user.slice/app\n', '/sys/fs/cgroup/user.slice/cpu.max': max });
  expect(availableCores(8, version2('max 100000\n'))).toBe(8);
  expect(availableCores(8, version2('150000 100000\n'))).toBe(2);
  expect(availableCores(8, version2('10000 100000\n'))).toBe(1);
  expect(availableCores(2, version2('800000 100000\n'))).toBe(2);
  const version1 = (quota: string) =>
    files({
      '/proc/self/cgroup': '12:cpu,cpuacct:/x\n4:memory:/x\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': `${quota}\n`,
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    });
  expect(availableCores(8, version1('-1'))).toBe(8);
  expect(availableCores(8, version1('300000'))).toBe(3);
});

test('autoWorkers() is one for each core, and no more than fit into the memory', () => {
  expect(autoWorkers(undefined, 100 * MB, 8)).toBe(8);
  expect(autoWorkers(10 * MB, 1_000 * MB, 8)).toBe(8);
  expect(autoWorkers(30 * MB, 100 * MB, 8)).toBe(3);
  expect(autoWorkers(300 * MB, 100 * MB, 8)).toBe(1);
});

test("Pool.register() with maxWorkers: 'auto' starts no more workers than there are cores and memory", async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 100 * MB, clock });
  const pool = createPool({ clock, governor });
  const load = () => ({ echo: (input: unknown) => input });
  const operations = { echo: operation<unknown, unknown>() };
  pool.register('free', { operations, load, maxWorkers: 'auto' });
  pool.register('large', { operations, load, maxWorkers: 'auto', costMb: 60 });
  pool.register('kept', { operations, load, maxWorkers: 'auto', costMb: 0, minWorkers: 100 });
  for (const key of pool.keys) await pool.warm(key, 1_000);
  const workers = Object.values(pool.stats().models).map((each) => each.workers);
  expect(workers).toEqual([availableCores(), 1, 100]);
  expect(() => pool.register('x', { operations, load, maxWorkers: 'many' as never })).toThrow(TypeError);
  await pool.close();
});

test.runIf(process.platform === 'linux')(
  'residentBytes() measures a process, and answers undefined for none',
  async () => {
    const bytes = (await residentBytes(process.pid)) as number;
    expect(bytes).toBeGreaterThan(10 * MB);
    expect(bytes).toBeLessThanOrEqual(process.memoryUsage().rss * 1.2);
    expect(await residentBytes(2 ** 30)).toBeUndefined();
  },
);

test('MemoryGovernor takes a fraction of the memory less a reserve', () => {
  const governor = new MemoryGovernor({ fraction: 0.5, reserveBytes: MB });
  expect(governor.limitBytes).toBeCloseTo(0.5 * availableMemory().bytes - MB, -3);
});

test('MemoryGovernor refuses unknown and wrong options, and amounts that are none', () => {
  expect(() => new MemoryGovernor({ limitMb: 1 } as never)).toThrow("unknown option 'limitMb'");
  expect(() => new MemoryGovernor({ limitBytes: -1 })).toThrow(RangeError);
  expect(() => new MemoryGovernor({ fraction: 80 })).toThrow(RangeError);
  expect(() => new MemoryGovernor({ reserveBytes: '1' as never })).toThrow(TypeError);
  expect(() => new MemoryGovernor({ clock: {} as never })).toThrow('clock.now must be a function');
  const governor = new MemoryGovernor({ limitBytes: 100 });
  for (const bytes of [-1, Number.NaN]) expect(() => governor.tryAcquire('a', bytes)).toThrow(RangeError);
  expect(() => governor.tryAcquire('a', 10)?.correct(Number.NaN)).toThrow(RangeError);
  expect(governor.heldBytes).toBe(10);
});

test('MemoryGuard gives its memory back exactly once', () => {
  const governor = new MemoryGovernor({ limitBytes: 100 });
  const guard = governor.tryAcquire('a', 60) as MemoryGuard;
  expect(governor.tryAcquire('a', 60)).toBeUndefined();
  guard[Symbol.dispose]();
  guard[Symbol.dispose]();
  guard.correct(1_000);
  expect(governor.heldBytes).toBe(0);
  expect(guard.bytes).toBe(0);
});

test('MemoryGuard.correct() replaces the estimate by what was measured', () => {
  const governor = new MemoryGovernor({ limitBytes: 100 });
  const guard = governor.tryAcquire('a', 60) as MemoryGuard;
  guard.correct(90);
  expect(governor.heldBytes).toBe(90);
  expect(governor.tryAcquire('b', 20)).toBeUndefined();
  guard.correct(30);
  expect(governor.tryAcquire('b', 20)).toBeDefined();
});

test('MemoryGovernor.acquire() says what is held by whom when it runs out of time', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 100 * MB, clock });
  governor.tryAcquire('pool/clip', 30 * MB);
  governor.tryAcquire('pool/clip', 30 * MB);
  governor.tryAcquire('pool/whisper', 20 * MB);
  const failed = governor.acquire('pool/llm', 50 * MB, 1_000).catch((error: unknown) => error);
  await clock.advance(1_000);
  const error = (await failed) as MemoryExhaustedError;
  expect(error).toBeInstanceOf(MemoryExhaustedError);
  expect(error.held).toEqual([
    { owner: 'pool/clip', bytes: 60 * MB, workers: 2 },
    { owner: 'pool/whisper', bytes: 20 * MB, workers: 1 },
  ]);
  expect(error.message).toBe(
    "Cannot start a worker of 'pool/llm': 50 MB needed, limit 100 MB, held: pool/clip 60 MB in 2 workers, pool/whisper 20 MB in 1 worker",
  );
  expect(governor.waiting).toBe(0);
});

test('MemoryGovernor.acquire() fails at once for what can never fit', async () => {
  const governor = new MemoryGovernor({ limitBytes: 100 });
  await expect(governor.acquire('a', 101, 60_000)).rejects.toThrow(MemoryExhaustedError);
});

test('MemoryGovernor.acquire() serves waiters in order as memory comes free', async () => {
  const governor = new MemoryGovernor({ limitBytes: 100, clock: new SimulatedClock() });
  const first = governor.tryAcquire('a', 100) as MemoryGuard;
  const order: string[] = [];
  const big = governor.acquire('b', 80, 1_000).then((guard) => {
    order.push('b');
    return guard;
  });
  const small = governor.acquire('c', 30, 1_000).then((guard) => {
    order.push('c');
    return guard;
  });
  first.correct(60);
  expect(governor.tryAcquire('d', 1)).toBeUndefined();
  first[Symbol.dispose]();
  (await big)[Symbol.dispose]();
  await small;
  expect(order).toEqual(['b', 'c']);
});

test('MemoryGovernor evicts the least recently used idle worker of another owner, and only as many as it takes', async () => {
  const governor = new MemoryGovernor({ limitBytes: 100, clock: new SimulatedClock() });
  const reclaimed: string[] = [];
  const add = (owner: string, since: number[]) => {
    const guards = since.map(() => governor.tryAcquire(owner, 20) as MemoryGuard);
    let leaving = 0;
    const reclaimer: MemoryReclaimer = {
      owner,
      idleSince: () => since[0],
      reclaim: () => {
        since.shift();
        const guard = guards.shift() as MemoryGuard;
        leaving += 20;
        reclaimed.push(owner);
        queueMicrotask(() => {
          leaving -= 20;
          guard[Symbol.dispose]();
        });
      },
      reclaimingBytes: () => leaving,
    };
    governor.addReclaimer(reclaimer);
    return reclaimer;
  };
  add('a', [5, 30]);
  add('b', [10]);
  const requester = add('c', [1, 2]);
  await governor.acquire('c', 40, 1_000, requester);
  expect(reclaimed).toEqual(['a', 'b']);
  expect(governor.heldBytes).toBe(100);
});

/** A model with idle workers, whose memory comes back as they are reclaimed. */
function idleModel(governor: MemoryGovernor, owner: string, bytes: number): MemoryReclaimer {
  const guards = [governor.tryAcquire(owner, bytes) as MemoryGuard];
  const reclaimer: MemoryReclaimer = {
    owner,
    idleSince: () => (guards.length > 0 ? 1 : undefined),
    reclaim: () => guards.pop()?.[Symbol.dispose](),
    reclaimingBytes: () => 0,
  };
  governor.addReclaimer(reclaimer);
  return reclaimer;
}

test('MemoryGovernor.acquire() grants the first worker whatever it needs, and refuses a second one at once', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 0, clock });
  const requester = idleModel(new MemoryGovernor({ limitBytes: 10 }), 'pool/clip', 10);
  expect(governor.tryAcquire('pool/spare hosts', 64)).toBeUndefined();
  const first = await governor.acquire('pool/clip', 123, 1_000, requester);
  expect(governor.heldBytes).toBe(123);
  await expect(governor.acquire('pool/clip', 123, 1_000, requester)).rejects.toThrow(MemoryExhaustedError);
  first[Symbol.dispose]();
  const again = await governor.acquire('pool/clip', 123, 1_000, requester);
  expect([again.bytes, governor.waiting]).toEqual([123, 0]);
});

test('MemoryGovernor.acquire() evicts all that is idle for a first worker above the limit, and waits for what is not', async () => {
  const clock = new SimulatedClock();
  const governor = new MemoryGovernor({ limitBytes: 100, clock });
  for (const owner of ['a', 'b']) idleModel(governor, owner, 30);
  const busy = governor.tryAcquire('busy', 30) as MemoryGuard;
  const requester = idleModel(new MemoryGovernor({ limitBytes: 10 }), 'large', 10);
  const granted = governor.acquire('large', 500, 1_000, requester);
  expect(governor.holdings().map(({ owner }) => owner)).toEqual(['busy']);
  busy[Symbol.dispose]();
  expect((await granted).bytes).toBe(500);
  const late = governor.acquire('other', 500, 1_000, idleModel(new MemoryGovernor({ limitBytes: 10 }), 'other', 10));
  const failed = expect(late).rejects.toThrow("Cannot start a worker of 'other'");
  await clock.advance(1_000);
  await failed;
});

test('MemoryExhaustedError says whose memory the limit is made of, what is kept back, and which option changes it', async () => {
  const governor = new MemoryGovernor({ reserveBytes: 2 ** 50, fraction: 0.7 });
  const error = (await governor.acquire('pool/clip', 123 * MB, 1_000).catch((each: unknown) => each)) as Error;
  expect(error.message).toMatch(
    /: 123 MB needed, limit 0 MB \(70 % of the \d+ MB of the (machine|container \(control group\)), less a reserve of 1125899907 MB; for another limit create the pool with governor: new MemoryGovernor\(\{ limitBytes \}\), an image pool with pool: \{ governor \}\), held: nothing$/,
  );
});

test('Pool runs one worker of each model in turn where not even one fits', async () => {
  const clock = new SimulatedClock();
  const pool = createPool({ clock, governor: new MemoryGovernor({ limitBytes: 0, clock }) });
  const load = () => ({ echo: (input: unknown) => input });
  const operations = { echo: operation<unknown, unknown>() };
  const models = ['a', 'b'].map((key) => pool.register(key, { operations, load, maxWorkers: 4, costMb: 60 }));
  for (const model of [...models, ...models]) expect(await model.call('echo', 1)).toBe(1);
  expect(Object.values(pool.stats().models).map((each) => each.workers)).toEqual([0, 1]);
  await expect(pool.warm('b', 2)).rejects.toThrow(MemoryExhaustedError);
  expect(await models[1]?.call('echo', 2)).toBe(2);
  await pool.close();
});
