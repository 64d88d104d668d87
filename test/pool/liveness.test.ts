import { expect, test } from 'vitest';
import { simulateModel } from '../support/simulated-worker.js';
import { runLiveness } from './liveness.js';

test('while a request waits a worker is there, is coming or is due, whatever happens in whatever order', async () => {
  await runLiveness(400);
}, 30_000);

test.each([0, -0, 1e-300])(
  'a call with a deadline of %d ms does not keep later ones from starting a worker',
  async (timeoutMs) => {
    const { clock, pool, workers, model } = simulateModel();
    await expect(model.call('echo', 1, { timeoutMs })).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
    const second = model.call('echo', 2, { timeoutMs: 5_000 });
    await clock.advance(10);
    expect(await second).toBe(2);
    expect(workers.map((each) => each.given)).toEqual([[2]]);
    expect(pool.stats()).toMatchObject({ accepted: 2, succeeded: 1, expired: 1, refused: 0 });
  },
);

test('a call with a deadline of 0 ms is never run, also where a worker is free or an identical call is under way', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs: () => 10 },
    { coalesce: { echo: (input: unknown) => input } },
  );
  await pool.warm('m');
  const first = model.call('echo', 1);
  const late = [model.call('echo', 1, { timeoutMs: 0 }), model.tryCall('echo', 2, { timeoutMs: 0 })];
  for (const each of late) await expect(each).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED', timeoutMs: 0 });
  await clock.advance(10);
  expect(await first).toBe(1);
  expect(workers[0]?.given).toEqual([1]);
  expect(pool.stats()).toMatchObject({ accepted: 3, succeeded: 1, expired: 2 });
});

test('a second worker is started under load that never ends, after a call that expired as it came', async () => {
  const { clock, pool, workers, model } = simulateModel(
    { serviceMs: () => 100 },
    { maxWorkers: 2, scaleUpAfterMs: 50 },
  );
  await pool.warm('m');
  model.call('echo', 0).catch(() => {});
  model.call('echo', 0, { timeoutMs: 0 }).catch(() => {});
  for (let turn = 0; turn < 30; turn += 1) {
    model.call('echo', turn).catch(() => {});
    await clock.advance(10);
  }
  expect(workers).toHaveLength(2);
  await pool.destroy();
});
