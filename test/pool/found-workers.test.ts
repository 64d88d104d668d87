import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createPool, MemoryGovernor, type PoolEvent } from '../../src/pool/index.js';
import type { InternalPoolOptions, PooledWorker, WorkerFinder, WorkerSource } from '../../src/pool/internal.js';
import { intakeOf } from '../../src/pool/internal.js';
import type { Request } from '../../src/worker/internal.js';
import { type Behaviour, echoOperations, SimulatedWorker, simulate, simulated } from '../support/simulated-worker.js';

/** A worker that says itself whether it has room, and gives back what it is told to. */
class ChoosyWorker extends SimulatedWorker {
  places = 2;
  refuses = false;
  hasRoom = (): boolean => !this.refuses && this.inFlight < this.places;
  readonly refused: unknown[] = [];

  override start(request: Request): void {
    if (request.peekInput() === 'not here' && this.id === 'a') {
      this.refuses = true;
      this.refused.push(request.peekInput());
      request.take();
      request.isInModel = true;
      request.giveBack(true);
    } else super.start(request);
  }
}

class Source implements WorkerSource {
  absence: Error | undefined = new Error('none there');
  finder!: WorkerFinder;
  waits: boolean[] = [];
  isClosed = false;

  open(finder: WorkerFinder): void {
    this.finder = finder;
  }

  noteWaiting(isWaiting: boolean): void {
    this.waits.push(isWaiting);
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

async function makePool(behaviour: Behaviour = {}) {
  const clock = new SimulatedClock();
  const source = new Source();
  const governor = new MemoryGovernor({ limitBytes: 1e9, clock });
  const pool = createPool({ clock, governor, find: () => source } as InternalPoolOptions);
  const model = pool.register('m', simulated({ breaker: { failures: 1 } }));
  const add = async (id: string): Promise<ChoosyWorker> => {
    const worker = new ChoosyWorker(id, 0, clock, behaviour);
    await clock.advance(0);
    source.finder.found(worker as PooledWorker);
    return worker;
  };
  return { clock, source, pool, model, add };
}

test('calls wait for a worker to be found, and tryCall() is refused with what the source says', async () => {
  const { clock, source, pool, model, add } = await makePool();
  const call = model.call('echo', 1);
  await expect(model.tryCall('echo', 2)).rejects.toBe(source.absence);
  expect(source.waits.at(-1)).toBe(true);
  await add('a');
  await clock.advance(0);
  expect(await call).toBe(1);
  expect(pool.stats()).toMatchObject({ accepted: 1, refused: 1, succeeded: 1 });
  source.finder.failWaiting(new Error('unused'));
  await pool.close();
  expect(source.isClosed).toBe(true);
});

test('a worker decides itself whether it has room, and says when it has some again', async () => {
  const { clock, source, model, add } = await makePool({ serviceMs: () => 10 });
  const worker = await add('a');
  worker.places = 0;
  const call = model.call('echo', 1);
  await clock.advance(100);
  expect(worker.given).toEqual([]);
  worker.places = 1;
  source.finder.hasRoom();
  await clock.advance(10);
  expect(await call).toBe(1);
});

test('a request that is given back unrun costs no attempt, goes first, and is run elsewhere', async () => {
  const { clock, pool, model, add } = await makePool({ serviceMs: () => 10 });
  const first = await add('a');
  const call = model.callDetailed('once', 'not here');
  await clock.advance(5);
  expect(first.refused).toEqual(['not here']);
  expect(pool.stats()).toMatchObject({ pending: 1, retried: 0, models: { m: { queued: 1, inFlight: 0 } } });
  const behind = model.call('once', 'behind');
  const second = await add('b');
  await clock.advance(20);
  expect(second.given).toEqual(['not here', 'behind']);
  expect(await call).toMatchObject({ value: 'not here', info: { worker: 'b', attempts: 1 } });
  expect(await behind).toBe('behind');
});

test('a request that was given back can be aborted, and expires', async () => {
  const { clock, pool, model, add } = await makePool();
  await add('a');
  const controller = new AbortController();
  const aborted = model.call('echo', 'not here', { signal: controller.signal });
  await clock.advance(1);
  const expired = model.call('echo', 'x', { timeoutMs: 50 });
  controller.abort('enough');
  await expect(aborted).rejects.toBe('enough');
  const seen = expect(expired).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  await clock.advance(50);
  await seen;
  expect(pool.stats()).toMatchObject({ accepted: 2, cancelled: 1, expired: 1, pending: 0 });
});

test('a lost worker is not the fault of the model: idempotent requests run elsewhere, the breaker stays closed', async () => {
  const { clock, pool, model, add } = await makePool({ serviceMs: () => 10 });
  const events: PoolEvent['type'][] = [];
  void (async () => {
    for await (const event of pool.events()) events.push(event.type);
  })();
  const lost = await add('a');
  const again = [model.call('echo', 1), model.call('echo', 2)];
  await clock.advance(5);
  const other = await add('b');
  lost.crash();
  await clock.advance(10);
  // Both at once: none of them is a suspect.
  expect(other.mostInFlight).toBe(2);
  expect(await Promise.all(again)).toEqual([1, 2]);
  expect(pool.health()).toMatchObject({
    status: 'healthy',
    models: { m: { breaker: 'closed', workers: { ready: 1 } } },
  });
  expect(pool.stats()).toMatchObject({ retried: 2, models: { m: { crashes: 1, workers: 1 } } });
  expect(events).toContain('crash');
});

test('a worker that leaves keeps its requests until they are answered', async () => {
  const { clock, pool, model, add } = await makePool({ serviceMs: () => 10 });
  const worker = await add('a');
  const call = model.call('once', 1);
  await clock.advance(5);
  const closing = pool.close();
  await clock.advance(10);
  expect(await call).toBe(1);
  await closing;
  expect(worker.state.current).toBe('dead');
});

test('warm() resolves once a worker is found', async () => {
  const { clock, pool, add } = await makePool();
  let isWarm = false;
  const warm = pool.warm('m').then(() => {
    isWarm = true;
  });
  await clock.advance(100);
  expect(isWarm).toBe(false);
  await add('a');
  await warm;
  const refused = expect(pool.warm('m', 2)).rejects.toMatchObject({ code: 'ERR_POOL_CLOSED' });
  await pool.close();
  await refused;
});

test('ModelIntake tells what a model could take and what it has, and when that changes', async () => {
  const clock = new SimulatedClock();
  const { pool } = simulate(clock, { serviceMs: () => 10 });
  pool.register('m', simulated({ maxWorkers: 2, concurrency: 3 }));
  const intake = intakeOf(pool, 'm');
  expect(intakeOf(pool, 'other')).toBeUndefined();
  expect(intake?.operations).toEqual(echoOperations);
  expect(intake).toMatchObject({ capacity: 6, load: 0 });
  let changes = 0;
  const stop = intake?.watch(() => {
    changes += 1;
  });
  const controller = new AbortController();
  const call = intake?.call('echo', 1, { signal: controller.signal }) as Promise<unknown>;
  expect(intake?.load).toBe(1);
  await clock.advance(5);
  controller.abort('enough');
  await expect(call).rejects.toBe('enough');
  // The worker still has it.
  expect(intake?.load).toBe(1);
  changes = 0;
  await clock.advance(5);
  expect(intake?.load).toBe(0);
  expect(changes).toBeGreaterThan(0);
  stop?.();
  await pool.close();
});

test('a worker that lost the answer of one request stays, and the request runs again', async () => {
  const { clock, pool, model, add } = await makePool({ serviceMs: () => 10 });
  const worker = await add('a');
  let held: Request | undefined;
  const start = worker.start.bind(worker);
  worker.start = (request) => {
    if (held !== undefined) return start(request);
    held = request;
    request.owner = worker;
    request.take();
    request.isInModel = true;
  };
  const call = model.call('echo', 1);
  await clock.advance(1);
  expect(held?.isWantedBack(new Error('the answer is lost'))).toBe(true);
  held?.giveBack(false);
  await clock.advance(10);
  expect(await call).toBe(1);
  expect(pool.stats()).toMatchObject({ retried: 1, models: { m: { workers: 1, crashes: 0, inFlight: 0 } } });
  // Its place was given back.
  expect((await pool.workers())[0]).toMatchObject({ worker: 'a', inFlight: 0 });
});
