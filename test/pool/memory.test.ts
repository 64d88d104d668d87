import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import {
  availableMemoryBytes,
  MemoryExhaustedError,
  MemoryGovernor,
  type MemoryGuard,
  type MemoryReclaimer,
  residentBytes,
} from '../../src/pool/index.js';

const MB = 1_000_000;
const files = (map: Record<string, string>) => (path: string) => map[path];

test('availableMemoryBytes() is the machine where no control group limits it', () => {
  expect(availableMemoryBytes(16_000, files({}))).toBe(16_000);
  expect(
    availableMemoryBytes(16_000, files({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': 'max\n' })),
  ).toBe(16_000);
});

test('availableMemoryBytes() takes the tightest version 2 limit on the way to the root', () => {
  const read = files({
    '/proc/self/cgroup': '0::/user.slice/app\n',
    '/sys/fs/cgroup/user.slice/app/memory.max': '9000\n',
    '/sys/fs/cgroup/user.slice/memory.max': '5000\n',
  });
  expect(availableMemoryBytes(16_000, read)).toBe(5_000);
});

test('availableMemoryBytes() reads version 1, where no limit is a number close to 2^63', () => {
  const membership = '12:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/ignored\n';
  const limited = files({
    '/proc/self/cgroup': membership,
    '/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes': '7000\n',
  });
  expect(availableMemoryBytes(16_000, limited)).toBe(7_000);
  const inside = files({ '/proc/self/cgroup': membership, '/sys/fs/cgroup/memory/memory.limit_in_bytes': '3000\n' });
  expect(availableMemoryBytes(16_000, inside)).toBe(3_000);
  const unlimited = files({
    '/proc/self/cgroup': membership,
    '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
  });
  expect(availableMemoryBytes(16_000, unlimited)).toBe(16_000);
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
  expect(governor.limitBytes).toBeCloseTo(0.5 * availableMemoryBytes() - MB, -3);
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
